/** The sign of holdpoint, beside its name. */
export function Mark({ size }: { readonly size: number }) {
  return (
    <svg viewBox="0 0 32 32" width={size} height={size} aria-hidden="true" focusable="false">
      <path fill="#c92a2a" d="M10 1h12l9 9v12l-9 9H10l-9-9V10z" />
      <path fill="#fff" d="M10 8h4v16h-4zm8 0h4v16h-4z" />
    </svg>
  )
}
