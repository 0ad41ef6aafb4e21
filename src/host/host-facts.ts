import si from 'systeminformation'
import type { HostFacts } from './ports.ts'

/** Hardware as systeminformation sees it. Display adapters are only looked for when `withGraphics`. */
export async function inspectHost(withGraphics: boolean): Promise<HostFacts> {
  const [cpu, memory, graphics] = await Promise.all([si.cpu(), si.mem(), withGraphics ? si.graphics() : undefined])
  return {
    cpuModel: `${cpu.manufacturer} ${cpu.brand}`.trim(),
    cpuCores: cpu.cores,
    memoryMiB: Math.round(memory.total / 2 ** 20),
    graphics: (graphics?.controllers ?? []).map((adapter) => `${adapter.vendor} ${adapter.model}`.trim()),
  }
}
