import { Alert, Stack, Text, TextInput } from '@mantine/core'
import type { ReactNode } from 'react'

import { CopyKey } from './copy-key.tsx'

/** A new key, which nobody can ask for again. It lives in this dialog alone, and goes when that is closed. */
export function ShownKey({ secret, children }: { readonly secret: string; readonly children?: ReactNode }) {
  return (
    <Stack>
      <Alert color="orange" variant="outline" title="This key is shown once, now">
        <Text size="sm">
          Put it where its user finds it, such as a secret store, before you close this. The control plane
          keeps only a digest. If it gets lost, rotate or burn it.
        </Text>
      </Alert>
      <TextInput
        label="New key"
        value={secret}
        readOnly
        autoComplete="off"
        spellCheck={false}
        classNames={{ input: 'mono' }}
        onFocus={(event) => event.currentTarget.select()}
      />
      <CopyKey secret={secret} />
      {children}
    </Stack>
  )
}
