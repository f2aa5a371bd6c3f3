import { Page } from '../../ui/page.tsx'

export function Drill() {
  return <Page title="Drill">Nothing here yet.</Page>
}
