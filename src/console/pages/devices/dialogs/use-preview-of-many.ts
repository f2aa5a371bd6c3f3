import { preview, type PreviewAnswer } from '../../../api/call.ts'
import { usePreviewBy } from '../../../ui/change/use-preview.ts'
import { MAX_CHUNK } from '../batch.ts'

/** What revoking these would hit, as the control plane says, in as many calls as it takes. */
export function usePreviewOfMany(
  deviceIds: readonly string[],
  options: { readonly enabled: boolean; readonly select?: (preview: PreviewAnswer) => PreviewAnswer },
) {
  return usePreviewBy(['revokeBatch', deviceIds], (signal) => previewOfMany(deviceIds, signal), options)
}

async function previewOfMany(deviceIds: readonly string[], signal: AbortSignal): Promise<PreviewAnswer> {
  const answers: PreviewAnswer[] = []
  for (let start = 0; start < deviceIds.length; start += MAX_CHUNK) {
    const chunk = deviceIds.slice(start, start + MAX_CHUNK)
    // oxlint-disable-next-line no-await-in-loop -- the control plane has stops to serve meanwhile
    answers.push(await preview('revokeBatch', { deviceIds: chunk }, { signal }))
  }
  return merged(answers)
}

function merged(answers: readonly PreviewAnswer[]): PreviewAnswer {
  const sum = (of: (answer: PreviewAnswer) => number) =>
    answers.reduce((total, answer) => total + of(answer), 0)
  return {
    // Of the first: a change while the others were asked for shows as one.
    orgEpoch: answers[0]?.orgEpoch ?? 0,
    deviceCount: sum(({ deviceCount }) => deviceCount),
    truncated: answers.some(({ truncated }) => truncated),
    hits: sum(({ hits }) => hits),
    devices: answers.flatMap(({ devices }) => devices),
  }
}
