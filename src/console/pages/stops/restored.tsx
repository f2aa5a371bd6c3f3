import { Alert, Stack, Text } from '@mantine/core'

import { isOutcomeUnknown, type ApiError } from '../../api/api-error.ts'
import { count } from '../../ui/count.ts'
import { plain } from '../../ui/plain.ts'
import { DeviceLines } from './device-lines.tsx'
import type { RestoreRow } from './restore-plan.ts'

/** What came of a restore, device by device. */
export function Restored({
  rows,
  asked,
  failed,
}: {
  readonly rows: readonly RestoreRow[]
  readonly asked: number
  readonly failed?: ApiError | undefined
}) {
  const back = rows.filter(({ ok }) => ok)
  const denied = back.filter(({ stillDeniedBy = [] }) => stillDeniedBy.length > 0)
  const refused = rows.filter(({ ok }) => !ok)
  return (
    <Stack gap="sm">
      <Text fw={600}>
        {back.length.toLocaleString('en')} of {count(asked, 'device')} restored.
      </Text>
      {failed !== undefined && (
        <Alert color="red" variant="outline" title="It broke off">
          <Text size="sm">{plain(failed.message)}</Text>
          <Text size="sm">
            {isOutcomeUnknown(failed)
              ? `Of the other ${count(asked - rows.length, 'device')} it is not known which came back.`
              : `The other ${count(asked - rows.length, 'device')} did not come back.`}{' '}
            Close this to see what is still held.
          </Text>
        </Alert>
      )}
      {refused.length > 0 && (
        <>
          <Text size="sm">{count(refused.length, 'device')} left as they were:</Text>
          <DeviceLines
            label="Devices that were not restored"
            devices={refused.map(({ deviceId, code = 'REFUSED' }) => ({ deviceId, why: code }))}
          />
        </>
      )}
      {denied.length > 0 && (
        <>
          <Text size="sm">{count(denied.length, 'device')} no longer revoked, but still denied:</Text>
          <DeviceLines
            label="Devices that are still denied"
            devices={denied.map(({ deviceId, stillDeniedBy = [] }) => ({
              deviceId,
              why: `by ${stillDeniedBy.join(', ')}`,
            }))}
          />
        </>
      )}
      {back.length > denied.length && (
        <Text size="sm">
          {denied.length === 0 && refused.length === 0 ? 'All of them are' : 'The others are'} allowed from
          their next hold point on. Nothing that was denied is repeated by itself.
        </Text>
      )}
    </Stack>
  )
}
