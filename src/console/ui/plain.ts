/** Characters that would hide, turn round or break what somebody reads: shown by their code instead. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}]/gu

/** A text of somebody else's, so that what is read is what it is. Line feeds stay with `lines`. */
export function plain(text: string, { lines = false }: { readonly lines?: boolean } = {}): string {
  return text.replace(UNSEEN, (character) => {
    if (lines && (character === '\n' || character === '\t')) return character
    return `⟨U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}⟩`
  })
}
