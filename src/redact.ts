// Keys that must never reach a log line, an error or a model, whatever field or message they came in. One of ours is
// known by its shape alone, whatever it is glued to; of the others we see the beginning, which in a log line, being
// JSON, may follow an escaped line break.
const SECRET =
  /org_[a-z]{4,8}_[a-z2-7]{16}[A-Za-z0-9_-]*|(?:\b|(?<=\\(?:[bfnrt]|u[0-9a-f]{4})))(?:org_[A-Za-z0-9_-]{6,}|hp[a-z]_[A-Za-z0-9_-]{6,}|sk[-_][A-Za-z0-9_-]{8,}|rk_[A-Za-z0-9_]{8,}|whsec_[A-Za-z0-9+/_-]{8,}=*)/g

/** `text` with everything that looks like a key replaced. */
export function redact(text: string): string {
  return text.replace(SECRET, (key) => `${key.slice(0, key.indexOf('_') + 1 || 3)}[redacted]`)
}
