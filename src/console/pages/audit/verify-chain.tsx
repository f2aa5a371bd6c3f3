import { Alert, Button, Group, Loader, Paper, Stack, Text, TextInput, Title } from '@mantine/core'
import { useState, type FormEvent } from 'react'

import { ApiError } from '../../api/api-error.ts'
import { call } from '../../api/call.ts'
import type { Output } from '../../api/routes.ts'
import { Failed } from '../../ui/answer.tsx'
import { Copyable } from '../../ui/copyable.tsx'
import { count } from '../../ui/count.ts'
import { Untrusted } from '../../ui/untrusted.tsx'
import { absoluteTime } from '../../ui/when.tsx'

/** A long chain takes a while. */
const TIMEOUT_MS = 10 * 60_000

type Result =
  | { readonly is: 'working' }
  | { readonly is: 'failed'; readonly error: ApiError }
  | {
      readonly is: 'done'
      readonly report: Output<'auditVerify'>
      readonly at: string
      readonly compared: boolean
    }

export function VerifyChain() {
  const [seq, setSeq] = useState('')
  const [hash, setHash] = useState('')
  const [result, setResult] = useState<Result>()
  const hasNoted = seq.trim() !== '' || hash.trim() !== ''
  const verify = async (event: FormEvent) => {
    event.preventDefault()
    setResult({ is: 'working' })
    try {
      const noted = hasNoted ? { seq: seq.trim(), hash: hash.trim() } : {}
      const report = await call('auditVerify', noted, { timeoutMs: TIMEOUT_MS })
      setResult({ is: 'done', report, at: new Date().toISOString(), compared: hasNoted })
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      setResult({ is: 'failed', error })
    }
  }
  return (
    <Paper withBorder p="md" component="section" aria-labelledby="verify">
      <form onSubmit={(event) => void verify(event)}>
        <Stack gap="sm">
          <Title order={2} size="h4" id="verify">
            Verify the chain
          </Title>
          <Text size="sm" maw={820}>
            Each row carries the hash of the row before it, so that none can be changed without all that
            follow. A chain that was made anew or cut off at its end shows only against a row that was noted
            elsewhere, such as in the control plane&apos;s log: give its number and hash to compare.
          </Text>
          <Group align="flex-end" gap="sm">
            <TextInput
              label="Noted row"
              inputMode="numeric"
              pattern="[0-9]*"
              required={hasNoted}
              w={120}
              value={seq}
              onChange={(event) => setSeq(event.currentTarget.value)}
            />
            <TextInput
              label="Its hash"
              pattern="\s*[0-9a-f]{64}\s*"
              title="64 characters of 0-9 a-f"
              required={hasNoted}
              spellCheck={false}
              flex="1 1 260px"
              maw={620}
              value={hash}
              onChange={(event) => setHash(event.currentTarget.value)}
            />
            <Button type="submit" variant="default" disabled={result?.is === 'working'}>
              Verify
            </Button>
          </Group>
          <div role="status">{result !== undefined && <Verdict result={result} />}</div>
        </Stack>
      </form>
    </Paper>
  )
}

function Verdict({ result }: { readonly result: Result }) {
  if (result.is === 'working') {
    return (
      <Group gap="xs">
        <Loader size="xs" aria-hidden />
        <Text size="sm">Reading every row from the first to the last …</Text>
      </Group>
    )
  }
  if (result.is === 'failed') return <Failed error={result.error} />
  const { report, at, compared } = result
  const { rows, head, firstBroken } = report
  if (firstBroken !== null || head === null) {
    return (
      <Alert color="red" variant="outline" title={`■ The chain is broken at row ${firstBroken?.seq ?? 1}`}>
        <Text size="sm">
          <Untrusted text={firstBroken?.problem ?? 'It has no rows.'} /> {count(rows, 'row')} read. Export the
          chain now and keep it, and do not rely on what follows that row.
        </Text>
      </Alert>
    )
  }
  return (
    <Alert color="green" variant="outline" title={`✓ Verified to row ${head.seq}`}>
      <Stack gap={6}>
        <Text size="sm">
          {count(rows, 'row')}, whole and in order, on {absoluteTime(at)}.
          {compared && ' The noted row is in it, as it was noted.'} Note this elsewhere, to compare later:
        </Text>
        <Copyable text={`${head.seq}:${head.hash}`} what="the number and hash of the last row" />
      </Stack>
    </Alert>
  )
}
