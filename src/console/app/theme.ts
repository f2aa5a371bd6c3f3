import { createTheme, Drawer, Menu, Modal, Tooltip } from '@mantine/core'

/** The nonce of this page: with it, and only with it, a style may be added. */
export function styleNonce(): string {
  return document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? ''
}

export const theme = createTheme({
  primaryColor: 'indigo',
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace',
  respectReducedMotion: true,
  autoContrast: true,
  cursorType: 'pointer',
  components: {
    // Locking the scroll adds a style without the nonce, which the CSP refuses.
    Modal: Modal.extend({ defaultProps: { lockScroll: false, centered: true } }),
    Drawer: Drawer.extend({ defaultProps: { lockScroll: false, position: 'right' } }),
    Menu: Menu.extend({ defaultProps: { withinPortal: true } }),
    Tooltip: Tooltip.extend({ defaultProps: { withArrow: true } }),
  },
})
