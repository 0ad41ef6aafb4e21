import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { build } from 'esbuild'
import { oneGrpc } from '../../packaging/build.ts'

/** A program of `inside/` as one file for the bundled runtime. */
export async function bundled(name: string): Promise<Uint8Array> {
  const folder = await mkdtemp(path.join(tmpdir(), 'comfy-machine-bench-'))
  const outfile = path.join(folder, `${name}.mjs`)
  const require =
    "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);"
  try {
    await build({
      entryPoints: [path.join(import.meta.dirname, `inside/${name}.ts`)],
      outfile,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node24',
      mainFields: ['module', 'main'],
      minifySyntax: true,
      minifyWhitespace: true,
      plugins: [oneGrpc],
      external: ['pg', 'redis', 'bullmq-otel'],
      banner: { js: `${require} const __filename = '', __dirname = ''` },
      logLevel: 'warning',
    })
    return await readFile(outfile)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
