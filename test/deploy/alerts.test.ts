import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'

import { LOCAL_DENIAL_CODES } from '../../src/guard/decision.ts'
import { AUTHORITY_DENIAL_CODES } from '../../src/machineid/wire.ts'
import { anchors, PROJECT, readPage } from '../docs/markdown.ts'
import { runMain, temporaryDirectory } from '../fixtures/program.ts'

/** Metric → the labels that its samples have; what Prometheus itself adds is not here. */
type Exported = ReadonlyMap<string, ReadonlySet<string>>

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly annotations: { readonly summary: string; readonly runbook: string }
}

const FOLDER = join(PROJECT, 'deploy/prometheus')
const read = (file: string) => readFileSync(join(PROJECT, file), 'utf8')
const { groups } = parse(read('deploy/prometheus/alerts.yaml')) as {
  groups: { rules: (Rule | { readonly record: string; readonly expr: string })[] }[]
}
const ALL = groups.flatMap(({ rules }) => rules)
const RECORDED = ALL.flatMap((rule) => ('record' in rule ? [rule] : []))
/** What is recorded has the labels of what it is made of. */
const RULES = ALL.flatMap((rule) => ('alert' in rule ? [{ ...rule, expr: unrecorded(rule.expr) }] : []))
const NONE = { summary: '', runbook: '' }
const CODES = [...LOCAL_DENIAL_CODES, ...AUTHORITY_DENIAL_CODES, 'other']

test('each rule goes by metrics and labels that both servers export, and codes that there are', async () => {
  // Asked until each has counted allows and denials.
  await using dir = await temporaryDirectory()
  const ports = { CONTROL_PLANE_PORT: '0', OPERATOR_PORT: '0', TOOL_SERVER_PORT: '0' }
  const program = runMain([], { ...ports, DATA_DIR: dir.path, VALIDATES_PER_SECOND_PER_KEY: '1' })
  await program.printed('npm run demo')
  const [authority, toolServer] = ['control-plane', 'tool-server'].map(
    (name) => new RegExp(`^${name} +(http:\\S+)`, 'm').exec(program.output())?.[1],
  )
  const { callerToken } = JSON.parse(readFileSync(join(dir.path, 'tool-server.json'), 'utf8')) as {
    callerToken: string
  }
  const call = async (index: number) => {
    const answer = await fetch(`${toolServer}/tools/lookup_invoice`, {
      method: 'POST',
      headers: { authorization: `Bearer ${callerToken}`, 'content-type': 'application/json' },
      body: JSON.stringify({ call_id: `call_${index}`, arguments: { invoiceId: 'INV-1001' } }),
    })
    await answer.text()
  }
  const scrape = async () =>
    (
      await Promise.all([authority, toolServer].map(async (url) => (await fetch(`${url}/metrics`)).text()))
    ).join('\n')
  let exported: Exported = new Map()
  const unknown = async () => {
    await Promise.all([1, 2, 3].map(call))
    exported = samplesOf(await scrape())
    const recorded = RECORDED.map(({ record: alert, expr }) => ({ alert, expr, annotations: NONE }))
    return [...RULES, ...recorded].flatMap((rule) => unknownOf(rule, exported))
  }
  await expect.poll(unknown, { timeout: 20_000, interval: 300 }).toEqual([])
  const wrong =
    'rate(holdpoint_decisions_total{bogus="x", code="BOGUS"}[5m]) + sum by (boundary, nothing) (holdpoint_bogus)'
  const annotations = { ...NONE, summary: '{{ $labels.other }}' }
  expect(unknownOf({ alert: 'Wrong', expr: wrong, annotations }, exported)).toEqual(
    ['holdpoint_bogus', 'bogus', 'nothing', 'other', 'BOGUS'].map((what) => `Wrong: ${what}`),
  )
  program.process.kill('SIGTERM')
  expect(await program.ended).toBe(0)
}, 60_000)

test.each(RULES.map((rule) => [rule.alert, rule] as const))(
  '%s leads to what to do about it',
  (_name, { annotations }) => {
    const [file = '', heading] = annotations.runbook.split('#')
    expect(anchors(readPage(file, read(file)))).toContain(heading)
  },
)

test('every code of a question that got no usable answer, and every one of the authority, has an alert', () => {
  const patterns = RULES.flatMap(({ expr }) => codePatterns(expr))
  const silent = CODES.filter(
    (code) => code.startsWith('AUTHORITY_') || !LOCAL_DENIAL_CODES.includes(code as never),
  ).filter((code) => !patterns.some((pattern) => pattern.test(code)))
  expect(silent).toEqual([])
})

test('prometheus.yml has the jobs that the rules name, and the servers of deploy/kubernetes by their names', () => {
  const { scrape_configs: jobs } = parse(read('deploy/prometheus/prometheus.yml')) as {
    scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[]
  }
  const named = RULES.flatMap(({ expr }) => [...expr.matchAll(/job="([^"]*)"/g)].map(([, job]) => job))
  expect([...new Set(named)].sort()).toEqual(jobs.map(({ job_name: name }) => name).sort())
  const manifests = ['control-plane', 'tool-server']
    .map((name) => read(`deploy/kubernetes/${name}.yaml`))
    .join('\n')
  for (const target of jobs.flatMap(({ static_configs: configs }) =>
    configs.flatMap(({ targets }) => targets),
  )) {
    const [, pod, service, namespace, port] =
      /^([\w-]+)-\d+\.([\w-]+)\.([\w-]+)\.svc:(\d+)$/.exec(target) ?? []
    for (const text of [
      `name: ${pod}\n`,
      `serviceName: ${service}\n`,
      `namespace: ${namespace}\n`,
      `containerPort: ${port} `,
    ])
      expect(manifests).toContain(text)
  }
})

const noPromtool = spawnSync('promtool', ['--version']).error && 'promtool is not on this machine'
if (noPromtool) console.warn(`skipped: promtool's check and tests of the alert rules: ${noPromtool}`)
describe.skipIf(noPromtool)('promtool', () => {
  const promtool = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync('promtool', args, { cwd: FOLDER, encoding: 'utf8' })
    return [status, status === 0 ? '' : stdout + stderr]
  }

  test('takes the rules and the configuration', () => {
    expect(promtool('check', 'rules', 'alerts.yaml')).toEqual([0, ''])
    expect(promtool('check', 'config', '--syntax-only', 'prometheus.yml')).toEqual([0, ''])
  })

  test('sees each alert fire when it should, and not when it should not', () => {
    expect(promtool('test', 'rules', 'alerts.test.yaml')).toEqual([0, ''])
    const tested = [...read('deploy/prometheus/alerts.test.yaml').matchAll(/alertname: (\w+)/g)].map(
      ([, name]) => name,
    )
    expect(RULES.map(({ alert }) => alert).filter((alert) => !tested.includes(alert))).toEqual([])
  })
})

/** What a rule names that is not there. */
function unknownOf({ alert, expr, annotations }: Rule, exported: Exported): string[] {
  const used = metricsOf(expr)
  const labelsOf = (metric: string) => [...(exported.get(metric) ?? []), 'job', 'instance']
  const all = new Set(used.flatMap(({ metric }) => labelsOf(metric)))
  const grouped = [...expr.matchAll(/\b(?:by|on) \(([^)]*)\)/g)].flatMap(([, names = '']) =>
    names.split(/,\s*/),
  )
  const shown = [...annotations.summary.matchAll(/\$labels\.(\w+)/g)].map(([, name = '']) => name)
  const patterns = codePatterns(expr).filter((pattern) => !CODES.some((code) => pattern.test(code)))
  return [
    ...used.map(({ metric }) => metric).filter((metric) => metric !== 'up' && !exported.has(metric)),
    ...used.flatMap(({ metric, labels }) => labels.filter((label) => !labelsOf(metric).includes(label))),
    ...[...grouped, ...shown].filter((label) => !all.has(label)),
    ...patterns.map(({ source }) => source.replaceAll(/[^\w|.]/g, '')),
  ].map((what) => `${alert}: ${what}`)
}

function unrecorded(expr: string): string {
  return RECORDED.reduce(
    (text, rule) => text.replaceAll(rule.record, metricsOf(rule.expr)[0]?.metric ?? ''),
    expr,
  )
}

function samplesOf(text: string): Exported {
  const found = new Map<string, Set<string>>()
  for (const [, metric = '', labels = ''] of text.matchAll(/^([a-z]\w*)(?:\{(.*)\})? \S+$/gm)) {
    const known = found.get(metric) ?? new Set()
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label)
    found.set(metric, known)
  }
  return found
}

function metricsOf(expr: string): { readonly metric: string; readonly labels: readonly string[] }[] {
  return [...expr.matchAll(/\b(up|(?:holdpoint|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)].map(
    ([, metric = '', matchers = '']) => ({
      metric,
      labels: [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = '']) => label),
    }),
  )
}

/** Of the codes that it names, one pattern for each alternative. */
function codePatterns(expr: string): readonly RegExp[] {
  return [...expr.matchAll(/code=~?"([^"]*)"/g)].flatMap(([, text = '']) => {
    const [, prefix = '', group = '', rest = ''] = /^([A-Z_]*)\(([^)]*)\)(.*)$/.exec(text) ?? [
      undefined,
      '',
      '',
      '',
    ]
    if (group === '') return text.split('|').map((one) => new RegExp(`^(?:${one})$`))
    const [suffix = '', ...others] = rest.split('|')
    return [...group.split('|').map((one) => `${prefix}${one}${suffix}`), ...others].map(
      (one) => new RegExp(`^(?:${one})$`),
    )
  })
}
