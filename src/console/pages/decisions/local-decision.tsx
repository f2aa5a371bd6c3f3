import { NativeSelect, Stack, Text } from '@mantine/core'

import { LOCAL_CODES, localCode } from '../../../local-codes.ts'
import { Fact, Facts } from '../../ui/facts.tsx'
import { useFilters } from '../../ui/use-filters.ts'

const CODES = Object.keys(LOCAL_CODES).toSorted()

/** A denial that the guard made by itself: the control plane knows nothing of it but what its code says. */
export function LocalDecision() {
  const [{ code = '' }, change] = useFilters(['code'])
  const known = localCode(code)
  return (
    <Stack gap="md">
      <Text>
        No authority made this decision: the guard of the process denied by itself, since no answer means no.
        So nothing of it is stored here. Its code stands beside the request_id in the log of that process, and
        in what the model was told.
      </Text>
      <NativeSelect
        label="The code that stood beside it"
        maw={360}
        data={[{ value: '', label: 'choose one' }, ...CODES]}
        value={known === undefined ? '' : code}
        onChange={(event) => change({ code: event.currentTarget.value })}
      />
      <div role="status">
        {known !== undefined && (
          <Facts cols={{ base: 1 }}>
            <Fact name="What it means">{known.means}</Fact>
            <Fact name="What to do">{known.todo}</Fact>
          </Facts>
        )}
      </div>
    </Stack>
  )
}
