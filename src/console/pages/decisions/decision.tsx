import { Page } from '../../ui/page.tsx'

export function Decision() {
  return <Page title="Decision">Nothing here yet.</Page>
}
