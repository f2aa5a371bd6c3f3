import type { ServerResponse } from 'node:http'

import { drained } from '../../drained.ts'
import { eventText } from './lane-events.ts'
import { stopsOf } from './lane-hits.ts'
import type { StopListener } from './lane-listeners.ts'
import type { StopReader } from './stop-store.ts'

/** Of what a stream missed, so many at a time. */
const PAGE_ROWS = 256
/** As much as may wait for a slow reader, or less: what was missed is no reason to hold more for it. */
const PAGE_CHARACTERS = 32 * 1024

/**
 * Tells what a stream missed, then lets it live, and nothing falls between the two. Take any stop that concerns it. It is
 * in the store before any lane hears of it. If it was there before the last read began, that read has told it. If not, the
 * lane hears of it after that read began, when the listener was long among those that hear: either while the listener is
 * not live, which raises `heardEpoch`, and then that read was not the last; or once it is live, and then it is told. From
 * the last look at `heardEpoch` to `live` there is no `await`. What comes both ways is known by its epoch. That holds however
 * long a read takes, and whichever node made the stop.
 */
export async function catchUp(options: {
  readonly stops: StopReader
  readonly listener: StopListener
  readonly response: ServerResponse
  /** Resolves when the next page is due: of all streams that catch up together. */
  readonly turn: () => Promise<void>
  /** Sent first. */
  readonly hello: string
  /** Of the org, read before any of this. */
  readonly orgEpoch: number
  readonly isOpen: () => boolean
  readonly cutKey: (listener: StopListener, epoch: number) => void
  readonly onTold: (listener: StopListener, epoch: number) => void
}): Promise<void> {
  const { stops, listener, response, isOpen } = options
  const { stream } = listener

  /** In one write. Answers whether that was all that there was when it was read. */
  const tellPage = async (before: string): Promise<boolean> => {
    const page = await stops.since(listener.orgId, listener.toldEpoch, PAGE_ROWS)
    const told: number[] = []
    let text = before
    let cutAt: number | undefined
    let isWhole = page.length < PAGE_ROWS
    for (const stop of stopsOf(page)) {
      if (text.length >= PAGE_CHARACTERS) {
        isWhole = false
        break
      }
      if (stop.keyIds.has(listener.keyId)) {
        cutAt = stop.epoch
        break
      }
      listener.toldEpoch = stop.epoch
      const deviceIds = listener.deviceIds.filter(stop.hits)
      if (deviceIds.length === 0) continue
      text += stop.textFor(deviceIds)
      told.push(stop.epoch)
    }
    if (text !== '' && stream.send(text)) for (const epoch of told) options.onTold(listener, epoch)
    if (cutAt !== undefined) options.cutKey(listener, cutAt)
    return isWhole
  }

  const isBehind = () => listener.heardEpoch > listener.toldEpoch || response.writableNeedDrain
  let isWhole = await tellPage(options.hello)
  while (!isWhole || isBehind()) {
    if (!isOpen()) return
    await drained(response)
    await options.turn()
    if (!isOpen()) return
    isWhole = await tellPage('')
  }
  // No `await` from here on: see above.
  if (!isOpen()) return
  listener.toldEpoch = Math.max(listener.toldEpoch, options.orgEpoch)
  listener.live = true
  stream.send(eventText({ type: 'current', epoch: listener.toldEpoch }))
}
