// The stop page shares its cookie with every other tab of the browser.

import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'

import { get, lookAtSession, post, signIn } from '../../src/console/stop-page/session.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

let authority: TestControlPlane
let other: { readonly orgId: string; readonly stop: string; readonly viewer: string }
beforeAll(async () => {
  authority = await startTestControlPlane()
  const { body } = await authority.post(PATHS.orgCreate, { kinds: ['stop', 'viewer'] })
  other = { orgId: body.orgId, ...body.keys }
})
afterAll(() => authority.close())
afterEach(() => vi.unstubAllGlobals())

/** A browser, as far as a page sees it: paths are of its own address, and its tabs have one cookie. */
function openBrowser() {
  let cookie = ''
  const { fetch: ask } = globalThis
  const browse = async (path: string, init: RequestInit = {}) => {
    const headers = { ...(init.headers as Record<string, string>), ...(cookie !== '' && { cookie }) }
    const answer = await ask(`${authority.operatorUrl}${path}`, { ...init, headers })
    cookie = answer.headers.get('set-cookie')?.split(';')[0] ?? cookie
    return answer
  }
  vi.stubGlobal('fetch', browse)
  return {
    signInElsewhere: (key: string) =>
      browse(PATHS.session, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ key }),
      }),
  }
}

const stop = (reason: string) => post(PATHS.orgDisable, { reason })
const isDisabled = async (key: string) => (await authority.get(PATHS.usage, key)).body.org.disabled

test('a stop of one org is never sent to the other that another tab has signed in to, however often it is tried', async () => {
  const browser = openBrowser()
  await signIn(authority.keys.stop, new URL(authority.operatorUrl))
  await lookAtSession()
  await browser.signInElsewhere(other.stop)
  for (const time of ['once', 'again']) {
    await expect(stop(time)).rejects.toMatchObject({ code: 'OTHER_ORG' })
    expect([await isDisabled(authority.keys.stop), await isDisabled(other.viewer)]).toEqual([false, false])
  }
  // Nor is what the other org made of a stop taken for this one's: their epochs are alike.
  for (const path of [PATHS.usage, `${PATHS.stopHistory}?epoch=1`]) {
    await expect(get(path)).rejects.toMatchObject({ code: 'OTHER_ORG' })
  }
})

test('a stop goes through at once when another tab has signed in anew to the same org', async () => {
  const browser = openBrowser()
  await signIn(authority.keys.stop, new URL(authority.operatorUrl))
  await browser.signInElsewhere(authority.keys.operator)
  const { orgId } = (await stop('at once')) as { readonly orgId: string }
  expect(orgId).toBe(authority.orgId)
  expect(await isDisabled(authority.keys.stop)).toBe(true)
  await post(PATHS.sessionEnd, {})
  expect(await lookAtSession()).toBeUndefined()
})

test('a key is not even sent where anybody on the way could read it', async () => {
  openBrowser()
  const sent = vi.fn(() => Promise.reject(new Error('sent')))
  vi.stubGlobal('fetch', sent)
  for (const address of [
    'http://control-plane.example:4101',
    'http://127.0.0.1.example',
    'http://10.0.0.7',
  ]) {
    await expect(signIn(authority.keys.stop, new URL(address))).rejects.toMatchObject({
      code: 'HTTPS_REQUIRED',
    })
  }
  expect(sent).not.toHaveBeenCalled()
  for (const address of ['https://ops.example.com', 'http://localhost:4101', 'http://[::1]:4101']) {
    await expect(signIn(authority.keys.stop, new URL(address))).rejects.toMatchObject({ code: 'UNREACHABLE' })
  }
})
