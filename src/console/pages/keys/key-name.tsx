import { Untrusted } from '../../ui/untrusted.tsx'
import type { KeyRow } from './key-kinds.ts'

/** What a person calls a key, and what it begins with. */
export function KeyName({ row: { name, prefix } }: { readonly row: Pick<KeyRow, 'name' | 'prefix'> }) {
  return (
    <>
      {name !== null && (
        <>
          <Untrusted text={name} />{' '}
        </>
      )}
      <Untrusted text={`${prefix}…`} mono />
    </>
  )
}
