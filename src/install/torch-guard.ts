import { MachineError } from '../errors.ts'

/** A distribution that an environment has in another version than before; null where it has none. */
export interface DistributionChange {
  readonly name: string
  readonly before: string | null
  readonly after: string | null
}

/** What came, went or changed between two states of an environment (name to version), sorted by name. */
export function diffDistributions(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): readonly DistributionChange[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .sort()
    .map((name) => ({ name, before: before.get(name) ?? null, after: after.get(name) ?? null }))
    .filter((change) => change.before !== change.after)
}

/** Tells whether a distribution belongs to the build of torch: torch itself, what is compiled against it, its CUDA libraries. */
export function isTorchFamily(name: string): boolean {
  // The binding to the driver's management library is not linked to by torch.
  if (name === 'nvidia-ml-py') return false
  return /^(torch|torchvision|torchaudio|triton|pytorch-triton.*|nvidia-.*)$/.test(name)
}

/** CM1708 when a script of a custom node changed or removed a part of torch; what it only added is no replacement. */
export function torchReplaced(
  node: string,
  script: string,
  changes: readonly DistributionChange[],
): MachineError | undefined {
  const replaced = changes.filter(({ name, before }) => before !== null && isTorchFamily(name))
  if (replaced.length === 0) return undefined
  const texts = replaced.map(({ name, before, after }) =>
    after === null ? `removed ${name} ${before}` : `replaced ${name} ${before} by ${after}`,
  )
  return new MachineError('CM1708', `custom node ${node}: ${script} ${texts.join(', ')}`)
}
