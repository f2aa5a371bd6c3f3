import { StopEvent, StopsQuery } from '../../machineid/wire-stops.ts'
import { PATHS } from '../../machineid/paths.ts'
import type { DescribedRoute } from '../openapi-codes.ts'

/** The call that the agent lane answers itself, beside validates: what openapi.json says of it. */
export const STOP_STREAM_ROUTE: DescribedRoute = {
  access: ['runtime', 'full'],
  ofAgents: true,
  hasPreview: false,
  refusals: ['KEY_NOT_BOUND_TO_DEVICE', 'WRONG_LANE', 'TOO_MANY_STREAMS', 'OVERLOADED'],
  method: 'get',
  path: PATHS.stops,
  handler: 'stops',
  summary: 'Streams the stops that hit the given devices, once they are durable; never a restore',
  input: StopsQuery,
  output: StopEvent,
  outputType: 'text/event-stream',
}
