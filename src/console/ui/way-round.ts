/** Where no answer comes: the command line asks the same control plane, so it is no way round one that is down. */
export const WAY_ROUND =
  'If the control plane is down, every hold point denies already. If only this page is cut off from it, stop from a computer that reaches it: npx holdpoint panic'
