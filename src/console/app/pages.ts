import { lazy, type ComponentType } from 'react'

import type { Session } from '../api/session-state.ts'
import { mayManage, mayReadEvidence } from '../api/roles.ts'

// Every page: where it is, and who gets to see it. What the first one needs is loaded first, all others after it.

const loads: (() => Promise<ComponentType>)[] = []

function page(load: () => Promise<ComponentType>) {
  loads.push(load)
  return lazy(async () => ({ default: await load() }))
}

/** So that each page is there when nobody answers any more. */
export function loadPages(): void {
  for (const load of loads) void load().catch(() => undefined)
}

export const PAGES = [
  {
    path: '/',
    name: 'Overview',
    page: page(async () => (await import('../pages/overview/overview.tsx')).Overview),
  },
  {
    path: '/devices',
    name: 'Devices',
    page: page(async () => (await import('../pages/devices/devices.tsx')).Devices),
  },
  {
    path: '/stops',
    name: 'Stops',
    page: page(async () => (await import('../pages/stops/stops.tsx')).Stops),
  },
  {
    path: '/approvals',
    name: 'Approvals',
    page: page(async () => (await import('../pages/approvals/approvals.tsx')).Approvals),
  },
  {
    path: '/runs',
    name: 'Runs',
    page: page(async () => (await import('../pages/runs/runs.tsx')).Runs),
  },
  {
    path: '/decisions',
    name: 'Decisions',
    may: mayReadEvidence,
    page: page(async () => (await import('../pages/decisions/decisions.tsx')).Decisions),
  },
  {
    path: '/keys',
    name: 'Keys',
    may: mayManage,
    page: page(async () => (await import('../pages/keys/keys.tsx')).Keys),
  },
  {
    path: '/plan',
    name: 'Plan',
    page: page(async () => (await import('../pages/plan/plan.tsx')).Plan),
  },
  {
    path: '/audit',
    name: 'Audit',
    may: mayReadEvidence,
    page: page(async () => (await import('../pages/audit/audit.tsx')).Audit),
  },
  {
    path: '/drills',
    name: 'Drills',
    page: page(async () => (await import('../pages/drills/drills.tsx')).Drills),
  },
] as const

/** Pages of one thing, under the list of them. */
export const DETAILS = [
  {
    path: '/approvals/:id',
    page: page(async () => (await import('../pages/approvals/approval.tsx')).Approval),
  },
  { path: '/runs/:id', page: page(async () => (await import('../pages/runs/run.tsx')).Run) },
  {
    path: '/decisions/:id',
    may: mayReadEvidence,
    page: page(async () => (await import('../pages/decisions/decision.tsx')).Decision),
  },
  {
    path: '/stops/:epoch',
    page: page(async () => (await import('../pages/stops/stop.tsx')).Stop),
  },
  {
    path: '/drills/:id',
    page: page(async () => (await import('../pages/drills/drill.tsx')).Drill),
  },
] as const

export function pagesOf(session: Session): readonly (typeof PAGES)[number][] {
  return PAGES.filter((page) => !('may' in page) || page.may(session))
}

export function detailsOf(session: Session): readonly (typeof DETAILS)[number][] {
  return DETAILS.filter((page) => !('may' in page) || page.may(session))
}
