import { memo } from 'react'

import { plain } from '../../../ui/plain.ts'
import { relativeTime } from '../../../ui/relative-time.ts'
import { Untrusted } from '../../../ui/untrusted.tsx'
import { absoluteTime } from '../../../ui/when.tsx'
import { inWords, type Denial, type Device } from '../device-state.ts'
import styles from './device-table.module.css'

export interface DeviceRowProps {
  readonly device: Device
  readonly denials: readonly Denial[]
  readonly inFlight: number
  readonly reason: string
  readonly keyName: string | undefined
  readonly nowMs: number
  readonly index: number
  readonly selected: boolean
  /** Whether Tab comes to this row; the arrows go on from there. */
  readonly isStop: boolean
  /** What its button does; none for who may do neither. */
  readonly act: 'Revoke' | 'Restore' | undefined
  readonly onCheck: (index: number, extends_: boolean) => void
  readonly onOpen: (deviceId: string) => void
  readonly onAct: (deviceId: string, act: 'Revoke' | 'Restore') => void
}

/** Only what has changed is drawn again; of plain elements, since scrolling makes hundreds of them. */
export const DeviceRow = memo(function DeviceRow(row: DeviceRowProps) {
  const { device, inFlight, reason, keyName, index, selected, isStop, act } = row
  const { deviceId, lastSeen, slot } = device
  const name = plain(deviceId)
  const tabIndex = isStop ? 0 : -1
  return (
    <tr className={styles.row} aria-rowindex={index + 2} aria-selected={selected} data-row={index}>
      <td>
        <input
          type="checkbox"
          className={styles.check}
          aria-label={`Select ${name}`}
          checked={selected}
          tabIndex={tabIndex}
          data-col="0"
          onChange={({ nativeEvent }) =>
            row.onCheck(index, nativeEvent instanceof MouseEvent && nativeEvent.shiftKey)
          }
        />
      </td>
      <th scope="row" className={styles.cut} title={name}>
        <button
          type="button"
          className={`${styles.id} ${styles.cut}`}
          tabIndex={tabIndex}
          data-col="1"
          onClick={() => row.onOpen(deviceId)}
        >
          <Untrusted text={deviceId} mono />
        </button>
      </th>
      <StateCell denials={row.denials} overdue={device.overdue} />
      <td className={styles.cut} title={plain(reason)}>
        <Untrusted text={reason} />
      </td>
      <SeenCells lastSeen={lastSeen} inFlight={inFlight} keyName={keyName} nowMs={row.nowMs} />
      <td className={styles.numbers}>{slot ?? '–'}</td>
      {act !== undefined && (
        <td>
          <button
            type="button"
            className={styles.act}
            aria-label={`${act} ${name}`}
            tabIndex={tabIndex}
            data-col="2"
            onClick={() => row.onAct(deviceId, act)}
          >
            {act}
          </button>
        </td>
      )}
    </tr>
  )
})

function SeenCells({
  lastSeen,
  inFlight,
  keyName,
  nowMs,
}: Pick<DeviceRowProps, 'inFlight' | 'keyName' | 'nowMs'> & Pick<Device, 'lastSeen'>) {
  const { at, code, keyId } = lastSeen ?? { at: null, code: '–', keyId: '–' }
  return (
    <>
      <td className={styles.cut}>
        {at === null ? (
          'never'
        ) : (
          <time dateTime={at} title={absoluteTime(at)}>
            {relativeTime(Math.min(Date.parse(at), nowMs), nowMs)}
          </time>
        )}
      </td>
      <td className={`${styles.cut} ${styles.quiet}`} title={code}>
        {code}
      </td>
      <td className={styles.numbers}>{inFlight}</td>
      <td className={styles.cut} title={plain(keyName ?? keyId)}>
        <Untrusted text={keyName ?? keyId} mono={keyName === undefined && lastSeen !== null} />
      </td>
    </>
  )
}

function StateCell({ denials, overdue }: { readonly denials: readonly Denial[]; readonly overdue: boolean }) {
  const { told, also } = inWords(denials)
  const more = [also, overdue ? 'overdue' : ''].filter(Boolean).join(', ')
  return (
    <td className={styles.cut} title={[told, more].filter(Boolean).join(', ')}>
      <span className={`${styles.state} ${denials.length === 0 ? styles.good : styles.bad}`}>
        <span aria-hidden>{denials.length === 0 ? '✓' : '■'}</span>{' '}
        <span className={styles.word}>{told}</span>
      </span>
      {more !== '' && <div className={`${styles.quiet} ${styles.cut}`}>{more}</div>}
    </td>
  )
}
