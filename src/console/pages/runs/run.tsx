import { Page } from '../../ui/page.tsx'

export function Run() {
  return <Page title="Run">Nothing here yet.</Page>
}
