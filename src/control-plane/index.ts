// The public entry `holdpoint/control-plane`: an authority of your own in a program of your own.
export { HoldpointError } from '../errors.ts'
export {
  startControlPlane,
  type RunningControlPlane,
  type StartControlPlaneOptions,
} from '../programs/own-control-plane.ts'
