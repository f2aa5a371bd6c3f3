import { Page } from '../../ui/page.tsx'

export function Plan() {
  return <Page title="Plan">Nothing here yet.</Page>
}
