import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { build } from 'esbuild'

/** A program of this repository and everything it imports as one file, to be run inside a host by the package's Node. */
export async function bundleProgram(entry: string): Promise<Uint8Array> {
  const folder = await mkdtemp(path.join(tmpdir(), 'comfy-machine-inside-'))
  const outfile = path.join(folder, 'program.mjs')
  const require = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
  try {
    await build({
      entryPoints: [entry],
      outfile,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node24',
      external: ['usocket', 'x11'],
      banner: { js: `${require} const __filename = '', __dirname = ''` },
      logLevel: 'warning',
    })
    return await readFile(outfile)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
