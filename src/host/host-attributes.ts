import { hostname, release, type } from 'node:os'
import type { Files } from './ports.ts'

/** Name and version of the operating system, os-release(5), and of the host, as OpenTelemetry's host.* and os.* attributes. */
export async function readHostAttributes(
  files: Files,
  hostId: string | null,
): Promise<Readonly<Record<string, string>>> {
  const text = (await files.readText('/etc/os-release')) ?? ''
  const read = (name: string): string => new RegExp(`^${name}="?([^"\\n]*)"?$`, 'm').exec(text)?.[1] ?? ''
  return {
    'host.name': hostname(),
    ...(hostId === null ? {} : { 'host.id': hostId }),
    'os.type': type().toLowerCase(),
    'os.name': read('NAME'),
    'os.version': read('VERSION_ID'),
    'os.description': `${read('PRETTY_NAME')}, Linux ${release()}`,
  }
}

/** The name of this host. */
export function hostName(): string {
  return hostname()
}
