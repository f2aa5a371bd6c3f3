import { Alert, Button, Stack, Text } from '@mantine/core'
import { Component, useEffect, useRef, type ReactNode } from 'react'

import { useConnection } from '../api/connection.ts'
import { Page } from '../ui/page.tsx'

/** A page that breaks, or that could not be loaded, takes nothing else along: banners and stops stay. */
export class PageBoundary extends Component<{ readonly children: ReactNode }, { readonly broken: boolean }> {
  override state = { broken: false }

  static getDerivedStateFromError() {
    return { broken: true }
  }

  override render() {
    return this.state.broken ? <Broken /> : this.props.children
  }
}

function Broken() {
  const { reachable } = useConnection()
  const was = useRef(reachable)
  useEffect(() => {
    if (reachable && !was.current) window.location.reload()
    was.current = reachable
  }, [reachable])
  return (
    <Page title="This page cannot be shown">
      <Alert color="red" variant="outline" role="alert" title="It broke, or could not be loaded.">
        <Stack gap="sm" align="flex-start">
          <Text size="sm">
            {reachable
              ? 'Whatever was being changed: look again before you repeat it. To stop from elsewhere: npx holdpoint panic'
              : 'It is loaded anew as soon as the control plane answers.'}
          </Text>
          <Button variant="default" onClick={() => window.location.reload()}>
            Load the console anew
          </Button>
        </Stack>
      </Alert>
    </Page>
  )
}
