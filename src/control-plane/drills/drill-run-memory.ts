import type { DrillRunBody } from '../../machineid/wire-drills.ts'
import type { DrillRunStore } from '../nodes/node-store.ts'

/** Where there is one node, only it can know. A restart forgets. */
export function createDrillRunMemory(): DrillRunStore {
  const running = new Map<string, string>()
  const told = new Map<string, DrillRunBody>()
  return {
    claimDrillRun: async (orgId, runId) => {
      if (running.has(orgId)) return false
      running.set(orgId, runId)
      return true
    },
    tellDrillRun: async (orgId, runId, run) => {
      if (running.get(orgId) !== runId) return false
      told.set(orgId, run)
      if (run.state !== 'running') running.delete(orgId)
      return true
    },
    releaseDrillRun: async (orgId, runId) => {
      if (running.get(orgId) === runId) running.delete(orgId)
    },
    findDrillRun: async (orgId) => {
      const run = told.get(orgId)
      return run && { run, lostAtMs: undefined }
    },
  }
}
