import { Page } from '../../ui/page.tsx'

export function Decisions() {
  return <Page title="Decisions">Nothing here yet.</Page>
}
