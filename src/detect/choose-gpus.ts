import type { MachineConfig } from '../config/load-config.ts'
import { MachineError } from '../errors.ts'
import { type NvidiaAnswer, type NvidiaGpu, parseMigList, parseNvidiaSmi, sysfsPciAddress } from './nvidia-smi.ts'
import { chooseTorchBackend, type TorchChoice, type TorchFacts } from './torch-backend.ts'

/** A GPU, or MIG device, that the machine is to use. */
export interface ChosenGpu {
  /** `GPU-…` or `MIG-…`; null in mock mode. */
  readonly uuid: string | null
  readonly pciBusId: string | null
  /** N of /dev/nvidiaN, for a MIG device that of its board. */
  readonly minor: number | null
  readonly numaNode: number | null
  readonly model: string
  readonly memoryMiB: number
}

/** How a command ended; code 127 when it does not exist, null when it was killed. */
export interface CommandAnswer {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** What the host says of its GPUs. */
export interface GpuEvidence {
  /** `nvidia-smi -q -x` */
  readonly query: CommandAnswer
  /** `nvidia-smi -L`, the only place that tells MIG UUIDs. */
  readonly list: CommandAnswer
  /** NUMA node by PCI address as /sys names it; nodes below 0 mean none. */
  readonly numaNodes: ReadonlyMap<string, number>
  /** Display adapters seen by other means, for the trail only. */
  readonly graphics: readonly string[]
}

/** The GPUs in the order of their instances, the build of torch for them, and why these were chosen, one line each. */
export interface GpuChoice {
  readonly gpus: readonly ChosenGpu[]
  readonly torch: TorchChoice
  readonly trail: readonly string[]
}

/** What of the configuration decides about GPUs and torch. */
export type GpuWish = Pick<MachineConfig, 'gpuMode' | 'mockGpuCount' | 'workers' | 'python' | 'environment' | 'secrets'>

/**
 * Chooses the GPUs that WORKERS asks for, in the order of their PCI addresses, a MIG device like a GPU. `evidence` is
 * null in mock mode only. Throws CM0901, CM0902, CM0903 or CM0904.
 */
export function chooseGpus(wish: GpuWish, evidence: GpuEvidence | null): GpuChoice {
  if (wish.gpuMode === 'mock' || evidence === null) {
    const mock: ChosenGpu = { uuid: null, pciBusId: null, minor: null, numaNode: null, model: 'mock', memoryMiB: 0 }
    const all = Array.from({ length: wish.mockGpuCount }, () => mock)
    return choice(wish, all, [`mode=mock MOCK_GPU_NUM=${wish.mockGpuCount}`], null)
  }
  const answer = readAnswer(evidence)
  const boards = [...answer.gpus].sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1))
  const trail = [
    `mode=actual nvidia-smi=${boards.length} driver=${answer.driverVersion} cuda=${answer.cudaVersion}`,
    ...evidence.graphics.map((adapter) => `display adapter: ${adapter}`),
  ]
  const all = boards.flatMap((board) => devicesOf(board, evidence, trail))
  if (all.length === 0) throw noGpu(boards)
  return choice(wish, all, trail, answer)
}

function choice(
  wish: GpuWish,
  all: readonly ChosenGpu[],
  trail: readonly string[],
  answer: NvidiaAnswer | null,
): GpuChoice {
  const fixed = wish.workers.reduce((sum, { count }) => sum + (count === 'auto' ? 0 : count), 0)
  const auto = wish.workers.some(({ count }) => count === 'auto')
  const least = auto ? fixed + 1 : fixed
  if (least > all.length) {
    const source = wish.gpuMode === 'mock' ? 'MOCK_GPU_NUM gives' : 'the host has'
    const message = `WORKERS asks for ${auto ? 'at least ' : ''}${plural(least)}, ${source} ${all.length}`
    throw new MachineError(
      'CM0902',
      message,
      wish.gpuMode === 'mock' ? { hint: 'Lower the count in WORKERS, or raise MOCK_GPU_NUM.' } : {},
    )
  }
  const gpus = auto ? all : all.slice(0, fixed)
  const reason = auto ? 'WORKERS has auto' : `WORKERS asks for ${fixed}`
  const torch = chooseTorchBackend(wish, answer === null ? null : factsOf(answer, gpus))
  const torchLine = `torch ${torch.backend ?? 'of the package indexes'}: ${torch.reason}`
  return { gpus, torch, trail: [...trail, `chosen ${gpus.length} of ${all.length}: ${reason}`, torchLine] }
}

function factsOf({ cudaVersion, gpus: boards }: NvidiaAnswer, gpus: readonly ChosenGpu[]): TorchFacts {
  const used = boards.filter(({ pciBusId }) => gpus.some((gpu) => gpu.pciBusId === pciBusId))
  return { cudaVersion, architectures: used.map(({ architecture }) => architecture) }
}

function readAnswer(evidence: GpuEvidence): NvidiaAnswer {
  const { code, stdout, stderr } = evidence.query
  const said = `${stderr}\n${stdout}`
  if (code === 127) {
    throw new MachineError('CM0901', 'nvidia-smi is not installed', {
      hint: 'Install the NVIDIA driver with nvidia-smi, or set GPU_MODE=mock.',
    })
  }
  if (/driver\/library version mismatch/i.test(said)) throw new MachineError('CM0903', firstLine(said, /mismatch/i))
  if (/no devices were found/i.test(said)) throw new MachineError('CM0901', 'nvidia-smi found no device')
  if (/gpu is lost/i.test(said)) {
    throw new MachineError('CM0904', firstLine(said, /gpu is lost/i), {
      type: 'gpu_lost',
      hint: 'Look for Xid messages in the kernel log; the GPU needs a reset or the host a reboot.',
    })
  }
  if (/couldn't communicate with the nvidia driver/i.test(said)) {
    throw new MachineError('CM0904', firstLine(said, /communicate/i), {
      hint: 'Load the driver (modprobe nvidia); after a kernel upgrade its module must be built for the new kernel.',
    })
  }
  if (code !== 0) {
    const end = code === null ? 'was killed or took too long' : `ended with ${code}`
    throw new MachineError('CM0904', `nvidia-smi ${end}: ${firstLine(said, /\S/)}`)
  }
  const answer = parseNvidiaSmi(stdout)
  if (answer === undefined) throw new MachineError('CM0904', 'the XML of nvidia-smi -q -x cannot be read')
  return answer
}

function devicesOf(board: NvidiaGpu, evidence: GpuEvidence, trail: string[]): readonly ChosenGpu[] {
  const node = evidence.numaNodes.get(sysfsPciAddress(board.pciBusId)) ?? -1
  const gpu: ChosenGpu = {
    uuid: board.uuid,
    pciBusId: board.pciBusId,
    minor: board.minor,
    numaNode: node < 0 ? null : node,
    model: board.model,
    memoryMiB: board.memoryMiB,
  }
  if (!board.migEnabled) {
    trail.push(`${board.pciBusId} ${board.model} ${board.memoryMiB} MiB ${board.uuid}`)
    return [gpu]
  }
  trail.push(
    `${board.pciBusId} ${board.model}: MIG is on with ${board.migDevices.length} devices, the board itself is not used`,
  )
  const listed = parseMigList(evidence.list.stdout).filter((device) => device.gpuUuid === board.uuid)
  return [...board.migDevices]
    .sort((a, b) => a.index - b.index)
    .map((device) => {
      const entry = listed.find((candidate) => candidate.index === device.index)
      const uuid = device.uuid ?? entry?.uuid
      if (uuid === undefined) {
        throw new MachineError(
          'CM0904',
          `nvidia-smi -L does not tell the UUID of MIG device ${device.index} of ${board.uuid}`,
        )
      }
      trail.push(`  MIG ${entry?.profile ?? device.index} ${device.memoryMiB} MiB ${uuid}`)
      const model = entry === undefined ? `${board.model} MIG` : `${board.model} MIG ${entry.profile}`
      return { ...gpu, uuid, model, memoryMiB: device.memoryMiB }
    })
}

function noGpu(boards: readonly NvidiaGpu[]): MachineError {
  if (boards.length === 0) return new MachineError('CM0901', 'nvidia-smi lists no GPU')
  return new MachineError('CM0901', `MIG is on for ${plural(boards.length)} and none has a MIG device`, {
    hint: 'Create MIG devices with nvidia-smi mig -cgi … -C, or turn MIG off.',
  })
}

function sortKey(gpu: NvidiaGpu): string {
  return gpu.pciBusId.toLowerCase().padStart(16, '0')
}

function firstLine(text: string, pattern: RegExp): string {
  const lines = text.split('\n').map((line) => line.trim())
  return lines.find((line) => pattern.test(line)) ?? 'it said nothing'
}

function plural(count: number): string {
  return count === 1 ? '1 GPU' : `${count} GPUs`
}
