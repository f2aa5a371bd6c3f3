// Keys that must never reach a log line, an error or a model, whatever field or message they came in.
const SECRET =
  /\b(?:org_[A-Za-z0-9_-]{6,}|hp[a-z]_[A-Za-z0-9_-]{6,}|sk[-_][A-Za-z0-9_-]{8,}|rk_[A-Za-z0-9_]{8,})/g

/** `text` with everything that looks like a key replaced. */
export function redact(text: string): string {
  return text.replace(SECRET, (key) => `${key.slice(0, key.indexOf('_') + 1 || 3)}[redacted]`)
}
