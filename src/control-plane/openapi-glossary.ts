import type { z } from 'zod'

import { deviceId, devicePattern, epoch } from '../machineid/wire-fields.ts'
import { DESK_DESCRIPTIONS } from './openapi-glossary-desk.ts'
import { SESSION_DESCRIPTIONS } from './openapi-glossary-sessions.ts'
import { STOP_DESCRIPTIONS } from './openapi-glossary-stops.ts'

interface SharedField {
  readonly name: string
  /** What JSON Schema cannot learn from the zod schema. */
  readonly schema: Readonly<Record<string, unknown>>
}

/** Fields that have a name of their own. */
export const SHARED_FIELDS: ReadonlyMap<z.core.$ZodType, SharedField> = new Map<z.core.$ZodType, SharedField>(
  [
    [
      deviceId,
      {
        name: 'DeviceId',
        schema: {
          description: '`{service}:{env}:{surface}:{instance}`, at most 8 segments, compared byte for byte.',
          pattern: '^[A-Za-z0-9._:-]{1,128}$',
          examples: ['openai-agent:prod:payments:01'],
        },
      },
    ],
    [
      devicePattern,
      {
        name: 'DevicePattern',
        schema: {
          description:
            'A device ID, or one with `*` for a whole segment. A last `*` stands for one or more segments.',
          pattern: '^[A-Za-z0-9._:*-]{1,128}$',
          examples: ['openai-agent:prod:payments:*'],
        },
      },
    ],
    [
      epoch,
      {
        name: 'Epoch',
        schema: { description: 'Raised by every stop and every restore of the org, by nothing else.' },
      },
    ],
  ],
)

/** By field; by schema and field where a word means something else there; by schema. */
export const DESCRIPTIONS: Readonly<Record<string, string>> = {
  ...STOP_DESCRIPTIONS,
  ...SESSION_DESCRIPTIONS,
  ...DESK_DESCRIPTIONS,

  // Every answer
  status: '`ok`; `error` when it was refused.',
  handler: "MachineID's name for the call.",
  request_id: 'Names this answer, in logs and for GET /api/v1/decisions.',
  orgId: 'The org.',
  error: 'The lower-case word for `code`, as MachineID has it.',
  code: 'Stable. For programs.',
  message: 'What went wrong and what to do next. For people; it may change.',
  retryAfterSeconds: 'How long to wait.',
  nextCursor: 'For `cursor`: there is more. Null at the end.',
  cursor: 'The `nextCursor` of the page before.',
  'ListQuery.limit': 'The most devices of one answer. Without it all of them come in one.',
  'DecisionsQuery.limit': 'The most rows of one answer, about.',
  'AuditQuery.limit': 'The most rows of one answer.',

  // Devices
  deviceId: 'A device.',
  deviceIds: 'Devices, by ID.',
  device: 'A device ID or a pattern.',
  pattern: 'Which devices: `*` stands for a whole segment, a last `*` for one or more.',
  label: 'Devices that carry exactly this label.',
  'RevokeBatchRequest.label.name': 'Its name.',
  value: 'Its value.',
  labels: "The operator's own names and values.",
  restoreRemoved: 'Brings a removed ID back, against `ifEpoch`. Not for runtime keys.',
  ifEpoch: 'The epoch that the caller saw last. The call is refused when there was a change since.',
  epoch: 'Of its own last stop or restore: what `ifEpoch` is compared with. 0 when there was none.',
  orgEpoch: 'The epoch of the whole org.',
  'DecisionsResponse.decisions.explanation.stop.epoch': 'Which stop it was.',
  'ErrorResponse.epoch':
    'With EPOCH_STALE and EPOCH_REQUIRED: the current one. Look again before trying again.',
  reason: 'Why, for the audit.',
  remindAfterSeconds: 'When the stop counts as overdue. It is never undone by itself.',
  remindAt: 'When the stop counts as overdue.',
  overdue: 'Whether the reminder has passed.',
  stillDeniedBy: 'What denies the device all the same.',
  items: 'Devices, each with the epoch of its stop.',
  changed: 'How many of `results` are `ok`. They all have the same new epoch.',
  results: 'In the order that was asked, else in byte order. Those that are not `ok` were left as they are.',
  ok: 'Whether it was changed.',
  'ChangeBatchResponse.results.code': 'Why not: `DEVICE_NOT_REGISTERED`, `EPOCH_STALE` or `EPOCH_REQUIRED`.',
  'RegisterResponse.status': '`ok` when it is new, `exists` when it was there.',
  'RegisterRefused.status': '`blocked` when the plan has no slot left, else `error`.',
  'RegisterRefused.epoch': 'Of the device, or the current one of what `ifEpoch` did not fit.',
  devices: 'The devices.',
  'ListResponse.devices.status': 'The same as `revoked`, in a word.',
  revoked: 'Whether it is revoked.',
  locked: 'Whether a lock matches it.',
  slot: 'Its place in the plan, from 1. A revoked device keeps its slot.',
  createdAt: 'When it was made.',
  changedAt: 'When it was last changed.',
  lastSeen: 'What it was last told. Null while it never asked.',
  at: 'When.',
  'ListResponse.devices.overLimit': 'Whether its slot is above the cap of the plan.',

  // Validates
  nonce: 'New for each question; the answer carries it.',
  context: 'Where the question comes from, for the record only.',
  boundary: 'The hold point: `startup`, `task`, `tool`, `side_effect` or `resume`.',
  tool: 'The tool that would run.',
  callId: 'The tool call.',
  runId: 'The run of the agent.',
  replica: 'The process that asks.',
  allowed: 'Whether work may begin. Anything but `true` is a no.',
  'ValidateResponse.code': '`ALLOW`, or why not.',
  'ValidateResponse.status': 'As MachineID has it.',
  'ValidateResponse.reason': '`allowed` or `not_allowed`, as MachineID has it.',
  'ValidateBatchResponse.decisions.code': '`ALLOW`, or why not.',
  'ValidateBatchResponse.decisions': 'One for each device, in the order that was asked.',

  // Plan and switch
  planTier: '`free`, `pro`, `scale`, `max` or `custom`.',
  planState: '`active`, `canceled`, `frozen` or `unpaid`. The last two deny every device.',
  accessUntil: 'When a canceled plan ends: the org is then on the free plan.',
  'OrgPlanRequest.limit': 'How many devices, with tier `custom` and only then.',
  limit: 'How many slots the plan has.',
  devicesUsed: 'Slots that are taken.',
  remaining: 'Slots that are free.',
  overLimit: 'Whether more slots are taken than the plan has.',
  softGraceWindow: 'Always false: caps hold at once.',
  tier: 'The plan.',
  state: 'Of the plan. Default `active`.',
  org: 'The switch of the org.',
  disabled: 'Whether every device is denied.',
  by: 'The id of the key that did it.',
  since: 'Since when.',
  'UsageResponse.revoked': 'How many devices are revoked.',
  'UsageResponse.locks': 'How many locks are held.',
  'UsageResponse.overdue': 'How many revoked devices and locks have a reminder that has passed.',

  // Locks
  locks: 'The locks, oldest first.',
  lockId: 'The lock.',
  active: 'Whether it is held.',
  all: 'With `true` the released ones too.',

  // Keys and owners
  kind: 'What the key may do.',
  kinds: 'Kinds of which the org gets a key at once, beside the `full` one.',
  name: 'For people.',
  bindings: 'The devices that a runtime key may ask for, as IDs or patterns; `["*"]` is every device.',
  key: 'The key. It is shown here and never again.',
  keyId: 'The third part of the key. No secret.',
  keys: 'The keys, oldest first.',
  'OrgCreateResponse.keys':
    'The keys of the `kinds` that were asked for, by kind. Shown here and never again.',
  orgApiKey: 'A `full` key. It is shown here and never again.',
  prefix: 'What the key begins with, to find it in a secret store.',
  'KeyListResponse.keys.state': '`ending` while the overlap of a rotation lasts.',
  createdBy: 'The id of the key that issued it, `platform`, `recovery` or `local`.',
  lastUsedAt: 'When it was last used, as far as it is stored: up to a second late.',
  endsAt: 'Until when it works.',
  endedAt: 'When it ended.',
  replacedBy: 'The id of the key that took its place.',
  replaces: 'The key that was rotated.',
  overlapSeconds: 'How long the old key goes on working. Default a day; 0 burns it at once.',
  owners: 'Whom recovery mails to.',
  add: 'Addresses to add.',
  remove: 'Addresses to remove.',
  email: 'An owner.',
  'RecoverResponse.message': 'What happens now. For people.',
  token: 'The end of the link that was mailed.',

  // Previews
  preview: 'Nothing was changed.',
  'PreviewQuery.preview': 'With `true` it says what it would hit, and changes nothing.',
  deviceCount: 'How many devices it is about; `devices` names the first 1,000 of them.',
  truncated: 'Whether there are more than `devices` names.',
  hits: 'How many of `devices` are allowed now and would be denied.',
  now: 'What a validate answers now.',
  then: 'What it would answer.',

  // Evidence
  decisions: 'Newest first.',
  decision: 'What was decided.',
  asked: 'By which call.',
  'DecisionRow.code': '`ALLOW`, or why not.',
  'DecisionsResponse.decisions.code': '`ALLOW`, or why not.',
  'ListResponse.devices.lastSeen.code': '`ALLOW`, or why not.',
  'DecisionsQuery.request_id': 'Those of one answer, explained.',
  'DecisionsQuery.code': 'Those with this code.',
  'FeedQuery.code': 'Those with this code.',
  'DecisionsQuery.boundary': 'Those at this hold point.',
  'FeedQuery.boundary': 'Those at this hold point.',
  'DecisionsQuery.allowed': 'Only allows, or only denials.',
  'FeedQuery.allowed': 'Only allows, or only denials.',
  from: 'From then on.',
  to: 'Until then.',
  explanation: 'With `request_id` only.',
  why: 'Why it was denied.',
  stop: 'The stop that was the reason. Null when it was none.',
  action: 'What was done, for example `device.revoke`.',
  next: 'What can be done.',
  note: 'What the answer cannot show.',
  types: 'Some of `decision`, `change` and `overdue`, with commas. Default: all.',
  type: 'What happened.',
  'FeedEvent.message': 'What is missing, and where it is.',
  row: 'The audit row of the change.',
  rows: 'In the order of the chain.',
  seq: 'Its place in the chain, from 1.',
  after: 'The `seq` of the last row that was seen. Default 0: from the first.',
  'AuditRowBody.before': 'What it was.',
  'AuditRowBody.after': 'What it became.',
  before: 'What it was.',
  format: '`jsonl` exports the chain from there on, one row a line; `csv` the same for a spreadsheet.',
  'AuditQuery.before': 'The `seq` of the last row seen: newest first, from the one before it on.',
  'AuditQuery.action': 'An action, or a group of them: what stands before the dot.',
  'AuditQuery.actor': 'Who did it: a key id, `platform`, `recovery` or `local`.',
  minutes: 'Oldest first; those without a decision are left out. The last one is not over yet.',
  'DecisionRatesResponse.minutes.counts':
    'By boundary, null for any that is none of ours, and by whether it was allowed.',
  order: '`newest` begins with the last row. Default `oldest`.',
  nextAfter: 'For `after`. Null at the end, and newest first.',
  nextBefore: 'For `before`, newest first. Null at the end.',
  id: 'A UUIDv7.',
  actor: 'The id of the key that did it, `platform`, `recovery` or `local`.',
  actorKind: 'The kind of that key.',
  requestId: 'The request that asked for it.',
  origin: 'The address that the request came from.',
  prevHash: 'The hash of the row before.',
  hash: 'SHA-256 of the row, `prevHash` included, in hex.',
  'AuditVerifyQuery.seq': 'Of a row that was noted elsewhere: the chain must still have it.',
  'AuditVerifyQuery.hash': 'The hash of that row.',
  intact: 'Whether every row fits the one before, and the noted one is there.',
  'AuditVerifyResponse.rows': 'How many rows were checked.',
  head: 'The last row, to note elsewhere.',
  firstBroken: 'The first row that does not fit. Null when all do.',
  problem: 'What is wrong with it.',

  // Schemas
  ErrorResponse: 'What every refused call answers. Nothing was changed.',
  RegisterRefused:
    'What a refused registration answers: an error, and for a device that is known or has no room, the plan.',
  ChangeResponse: 'The change is durable.',
  ChangeBatchResponse: 'The changes are durable, all in one transaction.',
  LockResponse: 'The change is durable. Locking a pattern that is locked is a new stop of the same lock.',
  KeyBurnResponse: 'The key is dead.',
  PreviewResponse: 'What the call would do. Nothing was changed.',
  ValidateContext: 'Where a question comes from, for the record only.',
  RecoverResponse: 'The same whether the address belongs to anybody or not.',
  RevokeBatchRequest: 'Exactly one of `deviceIds`, `pattern` and `label` says which devices.',
  FeedEvent: 'The `data` of one event of the feed; its `event` is the `type`.',
  AuditRowBody: 'Who did what, why, from where, and what it changed.',
}
