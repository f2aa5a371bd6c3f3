import type { Actions } from '../use-actions.ts'
import type { DevicesData } from '../use-devices.ts'
import { RegisterDialog } from './register-dialog.tsx'
import { ReleaseDialog } from './release-dialog.tsx'
import { RemoveDialog } from './remove-dialog.tsx'
import { RestoreDialog } from './restore-dialog.tsx'
import { RevokeDialog } from './revoke-dialog.tsx'
import { StopSurfaceDialog } from './stop-surface-dialog.tsx'

/** The dialog of what somebody is about to do. */
export function Dialogs({ actions, data }: { readonly actions: Actions; readonly data: DevicesData }) {
  const { action, opening, opened, begin, end } = actions
  const shared = { data, opened, begin, end }
  switch (action?.is) {
    case undefined:
      return null
    case 'stop':
      return <StopSurfaceDialog key={opening} {...shared} pattern={action.pattern} />
    case 'revoke':
      return <RevokeDialog key={opening} {...shared} deviceIds={action.deviceIds} />
    case 'restore':
      return <RestoreDialog key={opening} {...shared} deviceIds={action.deviceIds} />
    case 'remove':
      return <RemoveDialog key={opening} {...shared} deviceIds={action.deviceIds} />
    case 'release':
      return <ReleaseDialog key={opening} {...shared} lock={action.lock} />
    case 'register':
      return <RegisterDialog key={opening} {...shared} />
  }
}

export interface DialogProps extends Pick<Actions, 'opened' | 'begin' | 'end'> {
  readonly data: DevicesData
}
