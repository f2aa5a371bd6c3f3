import type { LocalDenialCode } from './guard/decision.ts'

/** What a denial that no authority made means, and what to do about it. */
interface LocalCode {
  readonly means: string
  readonly todo: string
}

const LOOK = 'holdpoint doctor'
const WRONG_ADDRESS = `Something that is no control plane answers at MACHINEID_BASE_URL, or a proxy rewrites answers. See: ${LOOK}`
const TWICE = 'An error in the program that calls the guard: ask for a new decision at each hold point.'
const ASK_AGAIN = 'The work may be asked for again: a new call passes new hold points.'

/** Every one of them, so that none can be added without its text. */
export const LOCAL_CODES: Readonly<Record<LocalDenialCode, LocalCode>> = {
  AUTHORITY_TIMEOUT: {
    means: 'The authority gave no whole answer within the time budget.',
    todo: `Compare what questions take with VALIDATE_TIMEOUT_MS: ${LOOK}`,
  },
  AUTHORITY_UNREACHABLE: {
    means: 'No connection to the authority came about.',
    todo: `See that the control plane runs (npx holdpoint start) and that MACHINEID_BASE_URL names it: ${LOOK}`,
  },
  AUTHORITY_TLS: {
    means: 'The certificate of the authority was not trusted.',
    todo: 'Name the CA that signed it in MACHINEID_CA_FILE, and see that the certificate is for that host and not expired.',
  },
  AUTHORITY_REDIRECT: {
    means: 'The authority answered with a redirect, which is never followed.',
    todo: 'Set MACHINEID_BASE_URL to where it redirects to, if that is the authority.',
  },
  AUTHORITY_BAD_STATUS: {
    means: 'The authority answered with a status that is no decision.',
    todo: 'The log has the status. With 421 MACHINEID_BASE_URL is the operators’ port, not that of agents. Else look into the log of the control plane; a proxy may have answered instead.',
  },
  AUTHORITY_UNAUTHORIZED: {
    means:
      'The authority did not take the key: not known, burned, expired, of another kind, or not bound to this device.',
    todo: 'See which keys there are: holdpoint keys ls. Issue one for this device: holdpoint keys create --kind runtime',
  },
  AUTHORITY_RATE_LIMITED: {
    means: 'More questions came than the authority takes in a second.',
    todo: 'Raise VALIDATES_PER_SECOND_PER_KEY or VALIDATES_PER_SECOND_PER_ORG, or find who asks so often: holdpoint tail',
  },
  AUTHORITY_BAD_CONTENT_TYPE: { means: 'The answer was not JSON.', todo: WRONG_ADDRESS },
  AUTHORITY_BAD_ENCODING: { means: 'The answer was compressed or not UTF-8.', todo: WRONG_ADDRESS },
  AUTHORITY_BODY_TOO_LARGE: { means: 'The answer was larger than any decision.', todo: WRONG_ADDRESS },
  AUTHORITY_TRUNCATED: {
    means: 'The answer broke off.',
    todo: 'Look whether the control plane, or a proxy before it, ended at that time.',
  },
  AUTHORITY_BAD_BODY: { means: 'The answer was not a decision.', todo: WRONG_ADDRESS },
  AUTHORITY_CONTRADICTION: {
    means: 'The answer allowed and denied at once.',
    todo: WRONG_ADDRESS,
  },
  AUTHORITY_WRONG_DEVICE: {
    means: 'The answer was about another device or org.',
    todo: 'A cache or proxy mixes answers up: let nothing between guard and authority store answers.',
  },
  AUTHORITY_STALE_ANSWER: {
    means: 'The answer was to another question.',
    todo: 'A cache or proxy repeats answers: let nothing between guard and authority store answers.',
  },
  AUTHORITY_CACHED: {
    means: 'The answer came out of a cache.',
    todo: 'Let nothing between guard and authority store answers.',
  },
  AUTHORITY_ROLLBACK: {
    means: 'The authority knew less than it had known before: its database was put back.',
    todo: 'Restore backups with holdpoint restore-backup, which begins a new generation. If that was done, start this process again.',
  },
  PERMIT_EXPIRED: {
    means: 'The answer was too old by the time the work was to start.',
    todo: `The process was suspended or too busy. ${ASK_AGAIN}`,
  },
  PERMIT_REUSED: { means: 'An allow was used for a second start.', todo: TWICE },
  LATE_COMMIT: {
    means: 'An effect was asked for after its tool call had ended.',
    todo: 'An error in the tool: await its effects before execute returns.',
  },
  NO_SESSION: {
    means: 'A guarded tool of a hosted agent ran outside a session.',
    todo: 'Run the agent with runAgent or over POST /runs.',
  },
  CALL_ID_REQUIRED: {
    means: 'An effect without a business key came over a transport that gave no call id.',
    todo: 'Send a call_id that is the same when the call is repeated, or give the effect a business key.',
  },
  JOURNAL_UNAVAILABLE: {
    means: 'The journal could not be written, so no effect may start.',
    todo: `Look at the disk and the rights of journal.sqlite under DATA_DIR of the tool server: ${LOOK}`,
  },
  CALL_ABORTED: {
    means: 'Whoever had asked for the work ended it before it started.',
    todo: ASK_AGAIN,
  },
  APPROVAL_REQUIRED: {
    means: 'A person must approve this call first.',
    todo: 'Make it in a run, where it waits for its approval: holdpoint runs ls',
  },
  APPROVAL_EXPIRED: {
    means: 'The approval came too late, or was used later than it holds.',
    todo: 'Resume the run: it asks for a new one.',
  },
  GUARD_MISCONFIGURED: {
    means: 'The guard cannot work as it is set up.',
    todo: 'The message beside the code, in the log of the process, says which option.',
  },
  GUARD_NOT_STARTED: {
    means: 'A tool was called before guard.start() was through.',
    todo: 'Await startGuard, or guard.start(), before anything is served.',
  },
  GUARD_SHUTTING_DOWN: {
    means: 'The process was ending.',
    todo: 'Ask again, of the process that comes next.',
  },
  GUARD_OVERLOADED: {
    means: 'More calls were at their hold points at once than the guard holds.',
    todo: 'Send fewer at once, or start another replica.',
  },
  STOP_PUSHED: {
    means:
      'A stop arrived by push after the authority had allowed the work and before it started, or while it was about to.',
    todo: 'Somebody stopped the device, its surface or the org. See who: holdpoint stops ls. Asked now, the authority itself says why.',
  },
}

export function localCode(code: string): LocalCode | undefined {
  return Object.hasOwn(LOCAL_CODES, code) ? LOCAL_CODES[code as LocalDenialCode] : undefined
}
