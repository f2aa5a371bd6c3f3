import { Page } from '../../ui/page.tsx'

export function Approval() {
  return <Page title="Approval">Nothing here yet.</Page>
}
