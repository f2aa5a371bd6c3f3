import {
  ValidateBatchRequest,
  ValidateBatchResponse,
  ValidateRequest,
  ValidateResponse,
} from '../machineid/wire-devices.ts'
import { PATHS } from '../machineid/paths.ts'
import type { DescribedRoute } from './openapi-codes.ts'

const shared = {
  access: ['runtime', 'full'],
  ofAgents: true,
  hasPreview: false,
  refusals: ['KEY_NOT_BOUND_TO_DEVICE', 'WRONG_LANE', 'OVERLOADED'],
} as const

/** The calls that the validate lane answers, before Express: what openapi.json says of them. */
export const VALIDATE_ROUTES: readonly DescribedRoute[] = [
  {
    ...shared,
    method: 'post',
    path: PATHS.validate,
    handler: 'devices/validate',
    summary: 'Asks whether a device may work now; a denial is a 200 too',
    input: ValidateRequest,
    output: ValidateResponse,
  },
  {
    ...shared,
    method: 'get',
    path: PATHS.validate,
    handler: 'devices/validate',
    summary: 'The same for older clients',
    input: ValidateRequest.pick({ deviceId: true, nonce: true }),
    output: ValidateResponse,
  },
  {
    ...shared,
    method: 'post',
    path: PATHS.validateBatch,
    handler: 'devices/validate_batch',
    summary: 'Asks for up to 16 devices at once, in one snapshot',
    input: ValidateBatchRequest,
    output: ValidateBatchResponse,
  },
]
