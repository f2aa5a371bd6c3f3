import { Anchor, Text } from '@mantine/core'
import { Link } from 'wouter'

import { useCall } from '../../api/use-call.ts'
import { Answer } from '../../ui/answer.tsx'
import { Section } from '../../ui/section.tsx'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { When } from '../../ui/when.tsx'

const EVERY_MS = 15_000
const SHOWN = 3

/** Effects of which nobody can tell whether they happened: never run again blindly. */
export function UnknownOutcomes() {
  const unknown = useCall('unknownEffects', {}, { everyMs: EVERY_MS })
  return (
    <Section
      title={`Unknown outcomes${unknown.data === undefined ? '' : `: ${unknown.data.effects.length}`}`}
      aside={
        <Anchor component={Link} href="/runs" size="sm">
          Runs
        </Anchor>
      }
    >
      <Answer of={unknown}>
        {({ effects }) =>
          effects.length === 0 ? (
            <Text size="sm">
              No tool server that was heard of in the last day tells of one. An effect that may or may not
              have happened stands here until it is settled.
            </Text>
          ) : (
            <>
              <ul className="plain-list">
                {effects.slice(0, SHOWN).map(({ id, replica, tool, kind, runId, changedAt }) => (
                  <li key={`${replica} ${id}`} className="held">
                    <StateBadge look="warn">unknown</StateBadge>
                    <Text size="sm" component="div">
                      <Untrusted text={tool} mono /> (<Untrusted text={kind} />
                      ), <When at={changedAt} />
                      {runId !== null && (
                        <>
                          {', in '}
                          <Anchor component={Link} href={`/runs/${encodeURIComponent(runId)}`} inherit>
                            <Untrusted text={runId} mono />
                          </Anchor>
                        </>
                      )}
                    </Text>
                  </li>
                ))}
              </ul>
              {effects.length > SHOWN && <Text size="sm">and {effects.length - SHOWN} more</Text>}
            </>
          )
        }
      </Answer>
    </Section>
  )
}
