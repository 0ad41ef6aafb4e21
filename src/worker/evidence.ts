import type { Attributes } from '../report.ts'

/** What `GET /system_stats` tells of a ComfyUI, as span attributes; what it leaves out is left out. */
export function toEvidence(stats: unknown, url: string): Attributes {
  const system = record(record(stats)['system'])
  const devices = record(stats)['devices']
  const device = record(Array.isArray(devices) ? devices[0] : undefined)
  const candidates = {
    'comfyui.url': url,
    'comfyui.version': system['comfyui_version'],
    'python.version': firstWord(system['python_version']),
    'pytorch.version': system['pytorch_version'],
    'device.name': device['name'],
    'device.type': device['type'],
    'device.vram_bytes': device['vram_total'],
  }
  const known = Object.entries(candidates).filter(([, value]) => typeof value === 'string' || typeof value === 'number')
  return Object.fromEntries(known) as Attributes
}

/** Python's `sys.version` is `3.12.3 (main, …) [GCC …]`. */
function firstWord(value: unknown): unknown {
  return typeof value === 'string' ? value.split(' ', 1)[0] : value
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
}
