import { Anchor, createTheme, Drawer, Menu, Modal, Tooltip, type CSSVariablesResolver } from '@mantine/core'

/** The nonce of this page: with it, and only with it, a style may be added. */
export function styleNonce(): string {
  return document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? ''
}

/** The head of a dialog is a `<header>`, and not the page's. */
const NO_BANNER = { header: { role: 'presentation' } }

export const theme = createTheme({
  primaryColor: 'indigo',
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace',
  respectReducedMotion: true,
  // Text on what is filled is white or black, whichever has a contrast of 4.5:1 there.
  primaryShade: 8,
  autoContrast: true,
  luminanceThreshold: 0.185,
  cursorType: 'pointer',
  components: {
    Anchor: Anchor.extend({ defaultProps: { underline: 'always' } }),
    // Locking the scroll adds a style without the nonce, which the CSP refuses.
    Modal: Modal.extend({ defaultProps: { lockScroll: false, centered: true, attributes: NO_BANNER } }),
    Drawer: Drawer.extend({ defaultProps: { lockScroll: false, position: 'right', attributes: NO_BANNER } }),
    Menu: Menu.extend({ defaultProps: { withinPortal: true } }),
    Tooltip: Tooltip.extend({ defaultProps: { withArrow: true } }),
  },
})

/** Mantine's own shades for text fall short of a contrast of 4.5:1. */
export const variables: CSSVariablesResolver = ({ colors }) => {
  const darker: Record<string, string> = {}
  for (const name of Object.keys(colors)) {
    const text = `color-mix(in srgb, var(--mantine-color-${name}-9) 75%, black)`
    darker[`--mantine-color-${name}-outline`] = text
    darker[`--mantine-color-${name}-light-color`] = text
  }
  return {
    variables: {},
    light: {
      ...darker,
      '--mantine-color-anchor': 'var(--mantine-color-indigo-9)',
      '--mantine-color-dimmed': 'var(--mantine-color-gray-7)',
      '--mantine-color-placeholder': 'var(--mantine-color-gray-7)',
      '--mantine-color-error': 'var(--mantine-color-red-9)',
    },
    dark: {
      '--mantine-color-anchor': 'var(--mantine-color-indigo-3)',
      '--mantine-color-dimmed': 'var(--mantine-color-dark-1)',
      '--mantine-color-placeholder': 'var(--mantine-color-dark-1)',
      '--mantine-color-error': 'var(--mantine-color-red-4)',
    },
  }
}
