import { join } from 'node:path'
import { INVOICES } from '../../tools/invoices.ts'
import type { Cluster } from './start-cluster.ts'

/** Where everything is, and what to try. The commands work as printed, in the folder where they were printed. */
export function clusterBanner(cluster: Cluster, dataDir: string): string {
  const { url, operatorUrl, toolServerUrl, controlPlanes, toolServers, postgres } = cluster
  const members = [...controlPlanes, ...toolServers].map(
    ({ name, url: at, pid }) => `  ${name.padEnd(16)} ${at.padEnd(26)} pid ${pid()}`,
  )
  if (postgres !== undefined)
    members.push(`  ${'postgres'.padEnd(16)} ${hostOf(postgres.url).padEnd(26)} pid ${postgres.pid()}`)
  const second = controlPlanes[1]?.pid()
  return [
    `For agents       ${url}`,
    `For operators    ${operatorUrl}  console ${operatorUrl}/console (key: admin of ${join(dataDir, 'operator.json')})`,
    `Tool servers     ${toolServerUrl}`,
    'Behind these three balancers:',
    ...members,
    `Logs: ${join(dataDir, 'logs')}`,
    'In another terminal, in this folder: pay, kill a control plane, stop payments over the others, try to pay, restore.',
    `  curl -K ${join(dataDir, 'caller.curl')} ${toolServerUrl}/tools/send_payment -d '${payment(1)}'`,
    ...(second === undefined ? [] : [`  kill -9 ${second}`]),
    `  DATA_DIR=${dataDir} npx holdpoint panic --surface payments --yes`,
    `  curl -K ${join(dataDir, 'caller.curl')} ${toolServerUrl}/tools/send_payment -d '${payment(2)}'`,
    `  DATA_DIR=${dataDir} npx holdpoint surface restore payments --yes`,
    'All of it, and more, in one go: npm run demo -- --cluster',
  ].join('\n')
}

function hostOf(url: string): string {
  const { hostname, port, pathname } = new URL(url)
  return `${hostname}:${port}${pathname}`
}

function payment(call: number): string {
  const { invoiceId, amountCents } = INVOICES[call - 1] ?? {}
  return JSON.stringify({ call_id: `call_${call}`, arguments: { invoiceId, amountCents } })
}
