import { installedLayer } from './installed.ts'
import { removeStaleHosts } from './leftovers.ts'

/** Before the first host test: the package, the root file system and the layer with both; vitest's workers inherit the variable. */
export async function setup(): Promise<void> {
  process.env['COMFY_TEST_LAYER'] = await installedLayer()
}

/** After the last one: nothing stays behind of a worker that died. */
export function teardown(): void {
  removeStaleHosts()
}
