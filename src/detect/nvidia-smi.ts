import { childOf, childrenOf, parseXml, type XmlElement } from './xml.ts'

/** One board as `nvidia-smi -q -x` describes it. */
export interface NvidiaGpu {
  /** `GPU-…` */
  readonly uuid: string
  readonly model: string
  /** NVIDIA's name, e.g. `Ampere`; empty where the driver does not tell. */
  readonly architecture: string
  /** As nvidia-smi writes it, with eight digits of domain: `00000000:00:04.0`. */
  readonly pciBusId: string
  /** N of /dev/nvidiaN; null where the driver does not tell. */
  readonly minor: number | null
  /** 0 where the board has no memory of its own. */
  readonly memoryMiB: number
  readonly migEnabled: boolean
  readonly migDevices: readonly MigDevice[]
}

/** One MIG device of a board; `uuid` is null where only `nvidia-smi -L` tells it. */
export interface MigDevice {
  readonly index: number
  readonly uuid: string | null
  readonly memoryMiB: number
}

/** The answer of `nvidia-smi -q -x`. */
export interface NvidiaAnswer {
  readonly driverVersion: string
  readonly cudaVersion: string
  readonly gpus: readonly NvidiaGpu[]
}

/** A MIG device as `nvidia-smi -L` lists it. */
export interface ListedMigDevice {
  /** UUID of the board it is on. */
  readonly gpuUuid: string
  readonly index: number
  /** e.g. `3g.20gb`. */
  readonly profile: string
  readonly uuid: string
}

/** Reads the XML of `nvidia-smi -q -x` (drivers 510 to 580, nvsmi_device_v11 and v12). Undefined when it is not that. */
export function parseNvidiaSmi(xml: string): NvidiaAnswer | undefined {
  const begin = xml.search(/<\?xml|<nvidia_smi_log/)
  const root = begin < 0 ? undefined : parseXml(xml.slice(begin))
  if (root === undefined || root.name !== 'nvidia_smi_log') return undefined
  const gpus = childrenOf(root, 'gpu').map(gpuOf)
  if (gpus.some((gpu) => gpu === undefined)) return undefined
  return {
    driverVersion: childOf(root, 'driver_version')?.text ?? '',
    cudaVersion: childOf(root, 'cuda_version')?.text ?? '',
    gpus: gpus.filter((gpu) => gpu !== undefined),
  }
}

/** Reads the lines of `nvidia-smi -L` that are MIG devices. */
export function parseMigList(text: string): readonly ListedMigDevice[] {
  const devices: ListedMigDevice[] = []
  let gpuUuid = ''
  for (const line of text.split('\n')) {
    const gpu = /^GPU \d+: .*\(UUID: (GPU-[0-9A-Za-z-]+)\)/.exec(line)
    if (gpu?.[1] !== undefined) gpuUuid = gpu[1]
    const mig = /^\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (MIG-[^)\s]+)\)/.exec(line)
    if (mig !== null) {
      const [, profile = '', index = '', uuid = ''] = mig
      devices.push({ gpuUuid, index: Number(index), profile, uuid })
    }
  }
  return devices
}

/** The name of a PCI function in /sys/bus/pci/devices: four digits of domain, lower case. */
export function sysfsPciAddress(pciBusId: string): string {
  return pciBusId.toLowerCase().replace(/^0{4}(?=[0-9a-f]{4}:)/, '')
}

function gpuOf(element: XmlElement): NvidiaGpu | undefined {
  const uuid = childOf(element, 'uuid')?.text ?? ''
  const pciBusId = childOf(element, 'pci', 'pci_bus_id')?.text ?? element.attributes['id'] ?? ''
  if (!uuid.startsWith('GPU-') || !/^[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9]$/.test(pciBusId)) {
    return undefined
  }
  const minor = childOf(element, 'minor_number')?.text ?? ''
  return {
    uuid,
    pciBusId,
    model: childOf(element, 'product_name')?.text ?? 'NVIDIA GPU',
    architecture: childOf(element, 'product_architecture')?.text ?? '',
    minor: /^\d+$/.test(minor) ? Number(minor) : null,
    memoryMiB: memoryOf(element),
    migEnabled: childOf(element, 'mig_mode', 'current_mig')?.text === 'Enabled',
    migDevices: childrenOf(childOf(element, 'mig_devices'), 'mig_device').map(migDeviceOf),
  }
}

function migDeviceOf(element: XmlElement, position: number): MigDevice {
  const index = childOf(element, 'index')?.text ?? ''
  const uuid = childOf(element, 'uuid')?.text ?? ''
  return {
    index: /^\d+$/.test(index) ? Number(index) : position,
    uuid: uuid.startsWith('MIG-') ? uuid : null,
    memoryMiB: memoryOf(element),
  }
}

function memoryOf(element: XmlElement): number {
  const total = /^(\d+) MiB$/.exec(childOf(element, 'fb_memory_usage', 'total')?.text ?? '')
  return Number(total?.[1] ?? 0)
}
