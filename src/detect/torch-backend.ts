import type { MachineConfig } from '../config/load-config.ts'

/** What decides which build of torch a machine gets. */
export type TorchWish = Pick<MachineConfig, 'gpuMode' | 'python' | 'environment' | 'secrets'>

/** What the driver and the GPUs say about it; null in mock mode. */
export interface TorchFacts {
  /** Highest CUDA that the driver runs, as nvidia-smi says it: `12.8`. */
  readonly cudaVersion: string
  /** NVIDIA's names: `Pascal`, `Ampere`; empty where the driver does not tell. */
  readonly architectures: readonly string[]
}

/** The build of torch, as `uv --torch-backend` names it, or null where the package indexes decide; and why. */
export interface TorchChoice {
  readonly backend: string | null
  readonly reason: string
}

const OWN_INDEX = ['PIP_INDEX_URL', 'UV_DEFAULT_INDEX', 'UV_INDEX_URL']

/**
 * Builds of torch with the lowest CUDA of a driver that runs them, newest first. Of what `--torch-backend` takes
 * (docs.astral.sh/uv/guides/integration/pytorch) only those that torch is released for: nothing lies under cu125 or cu123.
 * Within a major version a driver runs builds of a later minor one (NVIDIA's CUDA Compatibility, minor version
 * compatibility), so that the oldest build of 11 and of 12 that is still released serves all drivers of it.
 */
const BUILDS: readonly (readonly [backend: string, major: number, minor: number])[] = [
  ['cu132', 13, 2],
  ['cu130', 13, 0],
  ['cu129', 12, 9],
  ['cu128', 12, 8],
  ['cu126', 12, 0],
  ['cu118', 11, 0],
]

/** GPUs that no build after cu126 has code for. */
const LAST_IN_CU126 = ['Maxwell', 'Pascal', 'Volta']

/** Chooses the build of torch: what TORCH_BACKEND says, none with an index of the operator's, else what the driver runs. */
export function chooseTorchBackend(wish: TorchWish, facts: TorchFacts | null): TorchChoice {
  const wanted = wish.python.torchBackend ?? 'auto'
  if (wanted === 'none') return { backend: null, reason: 'TORCH_BACKEND=none: the package indexes decide' }
  if (wanted !== 'auto') return { backend: wanted, reason: `TORCH_BACKEND=${wanted}` }
  const own = OWN_INDEX.find((name) => wish.environment[name] !== undefined || wish.secrets.has(name))
  if (own !== undefined) return { backend: null, reason: `${own} is set: that package index decides` }
  if (wish.gpuMode === 'mock' || facts === null) return { backend: 'cpu', reason: 'GPU_MODE=mock' }
  const driver = /^(\d+)\.(\d+)/.exec(facts.cudaVersion)
  if (driver === null) return { backend: null, reason: 'the driver does not tell its CUDA version' }
  const [major, minor] = [Number(driver[1]), Number(driver[2])]
  const old = facts.architectures.find((name) => LAST_IN_CU126.includes(name))
  const usable = old === undefined ? BUILDS : BUILDS.slice(BUILDS.findIndex(([backend]) => backend === 'cu126'))
  const build = usable.find(([, ofMajor, ofMinor]) => major > ofMajor || (major === ofMajor && minor >= ofMinor))
  if (build === undefined) return { backend: null, reason: `no build of torch runs on CUDA ${facts.cudaVersion}` }
  const because = old === undefined ? '' : `, and no later build has code for ${old}`
  return { backend: build[0], reason: `the driver runs CUDA ${facts.cudaVersion}${because}` }
}
