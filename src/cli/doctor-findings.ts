import { authorityFindings } from './doctor-authority.ts'
import type { DoctorFacts, Finding } from './doctor-facts.ts'
import { replicaFindings } from './doctor-replicas.ts'
import { toolServerFindings } from './doctor-tools.ts'

/** Pure: the same facts give the same findings, in the order in which they are to be read. */
export function findingsOf(facts: DoctorFacts): Finding[] {
  return [
    ...authorityFindings(facts),
    ...replicaFindings(facts),
    ...facts.toolServers.flatMap((server) => toolServerFindings(server, facts.authority)),
  ]
}
