import { plain } from './plain.ts'

/** A text that somebody else wrote: shown as it is, set apart from the direction of the text around it. */
export function Untrusted({ text, mono = false }: { readonly text: string; readonly mono?: boolean }) {
  return <bdi className={mono ? 'untrusted mono' : 'untrusted'}>{plain(text)}</bdi>
}
