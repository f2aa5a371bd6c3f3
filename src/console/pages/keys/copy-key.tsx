import { Button, Group, Text } from '@mantine/core'

import { useCopy } from '../../ui/use-copy.ts'

/** Copies a key, and says when that did not work: over plain HTTP to another machine a browser does not let a page. */
export function CopyKey({ secret }: { readonly secret: string }) {
  const { copied, copy } = useCopy(secret)
  return (
    <Group gap="xs">
      <Button variant="default" onClick={copy}>
        Copy the key
      </Button>
      <Text size="sm" role="status">
        {copied === 'copied' && '✓ Copied'}
        {copied === 'refused' &&
          'The browser does not let this page copy: select the key and copy it by hand.'}
      </Text>
    </Group>
  )
}
