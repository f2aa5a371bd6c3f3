import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHttp } from '../../src/cli/http.ts'
import { createOperatorClient, type OperatorClient } from '../../src/cli/operator-client.ts'
import { programEnv } from '../../src/config.ts'
import { CALLS } from '../../src/machineid/calls.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { OrgCreateResponse } from '../../src/machineid/wire-orgs.ts'
import { spawnProgram } from '../../src/programs/supervisor.ts'
import { withoutOurs } from '../world.ts'
import { devicesOf, type Topology } from './topology.ts'

/** The org of one topology, in the hands of its operator. */
export interface Org {
  readonly orgId: string
  /** Where replicas ask. */
  readonly url: string
  /** A key that can only register and ask, and only for devices of these services. */
  readonly runtimeKey: string
  readonly operator: OperatorClient
  /** Also enables the org again, which an operator may not. */
  readonly admin: OperatorClient
}

/** A control plane as a process of its own on free ports, in a folder that is deleted at the end. */
export interface Control {
  readonly url: string
  readonly createOrg: (topology: Topology) => Promise<Org>
  readonly close: () => Promise<void>
}

export async function startControl(): Promise<Control> {
  const dataDir = mkdtempSync(join(tmpdir(), 'holdpoint-fleet-'))
  const env = {
    ...withoutOurs(programEnv()),
    DATA_DIR: dataDir,
    CONTROL_PLANE_PORT: '0',
    OPERATOR_PORT: '0',
  }
  const program = await spawnProgram({ program: 'control-plane', env, logDir: join(dataDir, 'logs') })
  const { url, operatorUrl = url } = program
  const ended = new AbortController()
  const http = createHttp({ caPem: undefined, signal: ended.signal })
  const { platformToken } = JSON.parse(readFileSync(join(dataDir, 'operator.json'), 'utf8')) as {
    readonly platformToken: string
  }
  const as = (secret: string, kind: string) =>
    createOperatorClient(http, operatorUrl, {
      secret,
      kind,
      from: 'the fleet',
      isPlatform: kind === 'platform',
    })
  const platform = as(platformToken, 'platform')
  return {
    url,
    createOrg: async ({ plan, replicas }) => {
      const answer = await http.json(
        {
          name: 'The control plane',
          url: operatorUrl,
          headers: { authorization: `Bearer ${platformToken}` },
        },
        { method: 'POST', path: PATHS.orgCreate, body: { kinds: ['operator', 'admin'] } },
      )
      const { orgId, keys = {} } = OrgCreateResponse.parse(answer.body)
      await platform.call(CALLS.orgPlan, { orgId, tier: plan })
      const admin = as(keys.admin ?? '', 'admin')
      const services = new Set(devicesOf(replicas).map((id) => id.split(':').slice(0, 2).join(':')))
      const bindings = [...services].map((service) => `${service}:*`)
      const { key: runtimeKey } = await admin.call(CALLS.keyCreate, { kind: 'runtime', bindings })
      return { orgId, url, runtimeKey, admin, operator: as(keys.operator ?? '', 'operator') }
    },
    close: async () => {
      await http.close()
      await program.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}
