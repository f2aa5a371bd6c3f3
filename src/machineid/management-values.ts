import { z } from 'zod'

import type { Profile } from './options.ts'
import { ChangeResponse, ListResponse, RegisterResponse } from './wire-devices.ts'
import { UsageResponse } from './wire-orgs.ts'

/** With profile `holdpoint` every field is there; hosted MachineID documents only some of them. */
type Loose<T> = { readonly [Name in keyof T]?: T[Name] | undefined }

const RegisterStatus = z.object({ status: z.enum(['ok', 'exists', 'restored']) })
const Registration = RegisterResponse.extend(RegisterStatus.shape)
const HostedList = z.object({ devices: z.array(z.looseObject({ deviceId: z.string() })) })

/** `status` is `ok` when new, `exists` when it was there, `restored` only from early MachineID. */
export type Registered = Loose<z.infer<typeof RegisterResponse>> & z.infer<typeof RegisterStatus>
/** `epoch` is what `ifEpoch` of a later restore is compared with. */
export type Changed = Loose<z.infer<typeof ChangeResponse>>
type ListedDevice = Loose<z.infer<typeof ListResponse>['devices'][number]> & {
  readonly deviceId: string
}
/** Every device of the org, with what the plan has. */
export type DeviceList = Loose<Omit<z.infer<typeof ListResponse>, 'devices'>> & {
  readonly devices: readonly ListedDevice[]
}
/** The plan, how much of it is used, and the org's switch. Hosted MachineID leaves out some of it. */
export type Usage = Loose<z.infer<typeof UsageResponse>>

export interface ManagementSchemas {
  readonly register: z.ZodType<Registered>
  readonly list: z.ZodType<DeviceList>
  readonly usage: z.ZodType<Usage>
  readonly change: z.ZodType<Changed>
}

/** The answers that are taken: exactly our own from our own control plane, whatever is usable from hosted MachineID. */
export function managementSchemas(profile: Profile): ManagementSchemas {
  if (profile === 'holdpoint') {
    return { register: Registration, list: ListResponse, usage: UsageResponse, change: ChangeResponse }
  }
  return {
    register: z.intersection(RegisterStatus, tolerant(RegisterResponse.omit({ status: true }))),
    list: z.intersection(HostedList, tolerant(ListResponse.omit({ devices: true }))),
    usage: tolerant(UsageResponse),
    change: tolerant(ChangeResponse),
  }
}

/** Takes the fields that are as they should be, and leaves the others out. */
function tolerant<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
): z.ZodType<Loose<z.infer<z.ZodObject<Shape>>>> {
  const fields = Object.entries<z.ZodType>(schema.shape as unknown as Record<string, z.ZodType>)
  const shape = Object.fromEntries(fields.map(([name, field]) => [name, field.optional().catch(undefined)]))
  return z.object(shape) as unknown as z.ZodType<Loose<z.infer<z.ZodObject<Shape>>>>
}
