import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual, parseEnv } from 'node:util'
import type { StatefulSet } from 'kubernetes-types/apps/v1.js'
import type { ConfigMap, Container, Namespace, PodSpec, Probe, Service } from 'kubernetes-types/core/v1.js'
import type { NetworkPolicy } from 'kubernetes-types/networking/v1.js'
import type { PodDisruptionBudget } from 'kubernetes-types/policy/v1.js'
import { describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'

import { readControlPlaneConfig, readToolServerConfig, type Env } from '../../src/config.ts'
import { deviceIdProblem } from '../../src/guard/device.ts'
import { resolveSurfaces } from '../../src/guard/surface.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { TOOL_SERVER_PATHS } from '../../src/tool-server-wire.ts'
import { compile } from '../docs/compile.ts'
import { PROJECT, readPage } from '../docs/markdown.ts'
import { createUserProject } from '../docs/user-project.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'
import { inImage } from './containerfile.ts'

// Nothing is applied to a cluster here: this checks what can be checked without.

type Manifest = Namespace | ConfigMap | Service | PodDisruptionBudget | StatefulSet | NetworkPolicy
const FOLDER = join(PROJECT, 'deploy/kubernetes')
const read = (file: string) => readFileSync(join(PROJECT, file), 'utf8')
const { resources } = parse(read('deploy/kubernetes/kustomization.yaml')) as { resources: string[] }
const MANIFESTS = resources.flatMap((file) =>
  parseAllDocuments(read(`deploy/kubernetes/${file}`)).map((document) => document.toJS() as Manifest),
)
const all = <T extends Manifest>(kind: T['kind']) => MANIFESTS.filter((one): one is T => one.kind === kind)
const SETS = all<StatefulSet>('StatefulSet')
const SERVICES = all<Service>('Service')
const POLICIES = all<NetworkPolicy>('NetworkPolicy')
const EXAMPLE = parseEnv(read('.env.example'))

const KINDS: Readonly<Record<string, string>> = {
  Namespace: 'core/v1',
  ConfigMap: 'core/v1',
  Service: 'core/v1',
  PodDisruptionBudget: 'policy/v1',
  StatefulSet: 'apps/v1',
  NetworkPolicy: 'networking/v1',
}

test('every field of every manifest is one that Kubernetes knows, of the type that it takes', () => {
  expect(readdirSync(FOLDER).sort()).toEqual([...resources, 'kustomization.yaml'].sort())
  const asTypeScript = (manifest: Manifest, at: string) => ({
    at,
    language: 'ts',
    text: `import type { ${manifest.kind} } from 'kubernetes-types/${KINDS[manifest.kind ?? '']}.js'
export const manifest: ${manifest.kind} = ${JSON.stringify(manifest)}\n`,
  })
  const blocks = MANIFESTS.map((one) => asTypeScript(one, nameOf(one)))
  const wrong = asTypeScript(
    { ...SETS[0], kind: 'StatefulSet', spec: { ...SETS[0]?.spec, replica: 3 } } as never,
    'wrong',
  )
  using project = createUserProject()
  const complaints = compile(project, [...blocks, wrong], { extends: join(PROJECT, 'tsconfig.json') })
  expect(complaints.get('wrong')).toEqual([expect.stringContaining('"replica"')])
  complaints.delete('wrong')
  expect(complaints).toEqual(new Map())
}, 60_000)

describe.each(SETS.map((set) => [set.metadata?.name ?? '', set] as const))('%s', (name, set) => {
  const { namespace, pod, container, labels } = partsOf(set)
  const settings = settingsOf(container)
  const mounts = new Map(container.volumeMounts?.map((mount) => [mount.name, mount.mountPath]))

  test('runs as the user of the image, who can change nothing but the data', () => {
    const [user] = inImage('USER')
    expect(`${pod.securityContext?.runAsUser}:${pod.securityContext?.runAsGroup}`).toBe(user)
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      fsGroup: 1000,
      seccompProfile: { type: 'RuntimeDefault' },
    })
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
    expect([pod.automountServiceAccountToken, container.resources?.limits?.['memory']]).toEqual([
      false,
      expect.any(String),
    ])
    expect(
      container.volumeMounts?.filter(({ readOnly }) => readOnly !== true).map(({ mountPath }) => mountPath),
    ).toEqual(inImage('VOLUME'))
    expect(settings?.data?.['DATA_DIR']).toBe('/data')
  })

  test('starts the program that the image has, with an environment that it takes', () => {
    const entry = JSON.parse(inImage('ENTRYPOINT')[0] ?? '') as string[]
    expect(container.command?.filter((word) => !word.startsWith('--env-file='))).toEqual([...entry, name])
    const env = environmentOf(set, 1)
    expect(Object.keys(env).filter((key) => key !== 'POD_INDEX' && !(key in EXAMPLE))).toEqual([])
    // Certificates are not here.
    const { TLS_CERT_FILE: _cert, TLS_KEY_FILE: _key, ...others } = env
    const config = name === 'tool-server' ? readToolServerConfig(others) : readControlPlaneConfig(others)
    const ports = name === 'tool-server' ? ['TOOL_SERVER_PORT'] : ['CONTROL_PLANE_PORT', 'OPERATOR_PORT']
    expect(container.ports?.map(({ containerPort }) => containerPort)).toEqual(
      ports.map((port) => config[port as keyof typeof config]),
    )
  })

  test('takes its secrets from files, which docs/deploying.md makes', () => {
    const made = secretsOfDocs().filter((secret) => secret.namespace === namespace)
    const files = made.flatMap(({ secretName, keys }) => {
      const volume = pod.volumes?.find((one) => one.secret?.secretName === secretName)
      return keys.map((key) => `${mounts.get(volume?.name ?? '')}/${key}`)
    })
    expect(pod.volumes?.map(({ secret }) => secret?.secretName)).toEqual(
      made.map(({ secretName }) => secretName),
    )
    const named = [...Object.values(settings?.data ?? {}), ...(container.command ?? [])].flatMap(
      (text) => text.match(/\/run\/secrets\/\S+/g) ?? [],
    )
    expect(named.filter((file) => !files.includes(file))).toEqual([])
    // That of Postgres is named in the URL of the database.
    expect(files.filter((file) => !named.includes(file))).toEqual([
      expect.stringMatching(/postgres-ca\.pem$/),
    ])
    expect(JSON.stringify([settings, container.env])).not.toMatch(/hpp_|hpc_|org_|:\/\/[^/\s]+:[^/\s]+@/)
  })

  test('is asked for its health where it answers, as the host that it always knows, and by no strict question', () => {
    const { startupProbe, livenessProbe, readinessProbe } = container
    const healthz = name === 'tool-server' ? '/healthz' : PATHS.healthz
    const readyz = name === 'tool-server' ? TOOL_SERVER_PATHS.readyz : PATHS.readyz
    const asked = [startupProbe, livenessProbe, readinessProbe].map((probe?: Probe) => probe?.httpGet)
    expect(asked.map((get) => get?.path)).toEqual([healthz, healthz, readyz])
    const [port] = container.ports ?? []
    for (const get of asked)
      expect(get).toMatchObject({
        port: port?.name,
        scheme: 'HTTPS',
        httpHeaders: [{ name: 'Host', value: 'localhost' }],
      })
  })

  test('has more time to end than it takes', () => {
    // A guard gives bodies 10 seconds, hosted runs 30 more, a server its answers 5.
    const takes = name === 'tool-server' ? 45 : 5
    const unsent = container.lifecycle?.preStop?.sleep?.seconds ?? 0
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(unsent + takes)
  })

  test('is found by its services and its budget, which keeps it from being drained at once, and no machine from being drained', () => {
    const budgets = all<PodDisruptionBudget>('PodDisruptionBudget').filter(
      (one) => one.metadata?.namespace === namespace,
    )
    expect(budgets.map(({ spec }) => spec)).toEqual([
      {
        maxUnavailable: 1,
        unhealthyPodEvictionPolicy: 'AlwaysAllow',
        selector: { matchLabels: labels },
      },
    ])
    expect(set.spec?.podManagementPolicy).toBe('Parallel')
    const services = SERVICES.filter((one) => one.metadata?.namespace === namespace)
    expect(services.map((one) => one.metadata?.name)).toContain(set.spec?.serviceName)
    expect(services.map(({ spec }) => spec?.selector)).toEqual(services.map(() => labels))
    const targets = services
      .flatMap(({ spec }) => spec?.ports ?? [])
      .map(({ port, targetPort }) => ({ name: targetPort, containerPort: port }))
    expect(
      targets.filter((target) => !container.ports?.some((port) => isDeepStrictEqual(port, target))),
    ).toEqual([])
  })
})

test('the ordinals of tool servers are the instances of their devices: a rollout takes no slot', async () => {
  const set = SETS.find(({ metadata }) => metadata?.name === 'tool-server')
  const { ordinals: { start = 0 } = {}, replicas = 0 } = set?.spec ?? {}
  const pods = Array.from({ length: replicas }, (_, index) => environmentOf(set, start + index))
  const devices = pods.map((env) => {
    const { TLS_CERT_FILE: _cert, TLS_KEY_FILE: _key, ...others } = env
    const { MACHINEID_DEVICE_ID: server, surfaces = [] } = readToolServerConfig(others)
    return [...new Set([...resolveSurfaces(server, surfaces).values()].flat())]
  })
  expect(devices.map(([server]) => server)).toEqual(
    [1, 2, 3].map((instance) => `openai-agent:prod:tool-server:${instance}`),
  )
  const unique = [...new Set(devices.flat())]
  expect(unique.map(deviceIdProblem)).toEqual(unique.map(() => undefined))

  await using authority = await startTestControlPlane({ plan: { limit: unique.length } })
  // Each start registers all of its devices: the first, and a rollout.
  for (const device of [...devices, ...devices].flat()) await authority.register(device)
  const { body } = await authority.get(PATHS.usage, authority.keys.viewer)
  expect(body).toMatchObject({ devicesUsed: unique.length, limit: unique.length })
  // The names by which Prometheus and callers reach the single servers.
  const hosts = pods.map(
    (_, index) => `tool-server-${start + index}.${set?.spec?.serviceName}.${set?.metadata?.namespace}.svc`,
  )
  expect(pods[0]?.['ALLOWED_HOSTS']?.split(/,\s*/)).toEqual([
    `tool-server.${set?.metadata?.namespace}.svc`,
    ...hosts,
  ])
})

test('no pod of agents reaches the port of operators, and what no policy names is closed', () => {
  const admitted = (port: string) =>
    POLICIES.flatMap(({ spec }) => spec?.ingress ?? [])
      .filter(({ ports = [] }) => ports.length === 0 || ports.some((one) => one.port === port))
      .flatMap(({ from = [] }) =>
        from.map(({ namespaceSelector, podSelector }) => [
          namespaceSelector?.matchLabels,
          podSelector?.matchLabels,
        ]),
      )
  expect(admitted('operators')).toEqual([[{ 'holdpoint-operators': 'true' }, undefined]])
  expect(admitted('agents')).toContainEqual([
    { 'kubernetes.io/metadata.name': 'holdpoint-tools' },
    { 'app.kubernetes.io/component': 'tool-server' },
  ])
  expect(
    POLICIES.flatMap(({ spec }) => spec?.ingress ?? []).every(
      ({ from = [], ports = [] }) => from.length > 0 && ports.length > 0,
    ),
  ).toBe(true)
  expect(POLICIES.flatMap(({ spec }) => spec?.egress ?? []).every(({ ports = [] }) => ports.length > 0)).toBe(
    true,
  )
  const closed = POLICIES.filter(({ spec }) => spec?.ingress === undefined && spec?.egress === undefined)
  expect(
    closed.map(({ metadata, spec }) => [metadata?.namespace, spec?.podSelector, spec?.policyTypes]),
  ).toEqual(all<Namespace>('Namespace').map(({ metadata }) => [metadata?.name, {}, ['Ingress', 'Egress']]))
})

const noKubectl = spawnSync('kubectl', ['version', '--client']).error && 'kubectl is not on this machine'
if (noKubectl) console.warn(`skipped: kubectl kustomize: ${noKubectl}`)
test.skipIf(noKubectl)('kubectl builds all of it, with the image by the tag of this version', () => {
  const { status, stdout, stderr } = spawnSync('kubectl', ['kustomize', FOLDER], { encoding: 'utf8' })
  expect([status, stderr]).toEqual([0, ''])
  const { version } = JSON.parse(read('package.json')) as { version: string }
  expect([...stdout.matchAll(/ image: (.*)/g)].map(([, image]) => image)).toEqual(
    SETS.map(() => `holdpoint:${version}`),
  )
  expect(stdout.match(/^kind: /gm)?.length).toBe(MANIFESTS.length)
})

function partsOf({ metadata, spec }: StatefulSet) {
  const pod: PodSpec | undefined = spec?.template.spec
  const container = pod?.containers[0]
  if (pod === undefined || container === undefined) throw new Error('A StatefulSet without a container.')
  return { namespace: metadata?.namespace, pod, container, labels: spec?.template.metadata?.labels }
}

/** What the container of one pod gets, but for the files of its secrets. */
function environmentOf(set: StatefulSet | undefined, ordinal: number): Env {
  const container = set?.spec?.template.spec?.containers[0]
  const env: Record<string, string> = { ...settingsOf(container)?.data }
  for (const { name, value = '', valueFrom } of container?.env ?? []) {
    if (valueFrom !== undefined)
      expect(valueFrom.fieldRef?.fieldPath).toBe("metadata.labels['apps.kubernetes.io/pod-index']")
    // As Kubernetes does it: only names that come before are known.
    const expanded = value.replaceAll(/\$\((\w+)\)/g, (reference, known: string) => env[known] ?? reference)
    env[name] = valueFrom === undefined ? expanded : String(ordinal)
  }
  return env
}

function settingsOf(container: Container | undefined): ConfigMap | undefined {
  const name = container?.envFrom?.[0]?.configMapRef?.name
  return all<ConfigMap>('ConfigMap').find((one) => one.metadata?.name === name)
}

/** Those that the page has commands for. */
function secretsOfDocs() {
  const page = readPage('docs/deploying.md', read('docs/deploying.md'))
  const commands = page.blocks
    .flatMap(({ text }) => text.split('\n'))
    .filter((line) => line.startsWith('kubectl ') && line.includes(' create secret '))
  return commands.map((command) => {
    const [, namespace, type, secretName] =
      /--namespace (\S+) create secret (generic|tls) (\S+)/.exec(command) ?? []
    const files = [...command.matchAll(/--from-file=(\S+)/g)].map(([, file = '']) => file.split('=')[0] ?? '')
    return { namespace, secretName, keys: type === 'tls' ? ['tls.crt', 'tls.key'] : files }
  })
}

function nameOf({ kind, metadata }: Manifest): string {
  return `${kind} ${metadata?.namespace ?? ''}/${metadata?.name}`
}
