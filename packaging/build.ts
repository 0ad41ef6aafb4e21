import { chmod, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { build as bundle, type BuildOptions as EsbuildOptions, type Plugin } from 'esbuild'

const root = path.resolve(import.meta.dirname, '..')

/** Where the private Node.js runtime of the Debian package lies; the command's first line names it. */
export const runtimePath = '/usr/lib/comfy-machine/bin/node'

/** OpenTelemetry loads gRPC by createRequire; imported as ES modules besides, it would be there twice and not know itself. */
export const oneGrpc: Plugin = {
  name: 'one-grpc',
  setup(build) {
    build.onResolve({ filter: /^@opentelemetry\/(otlp-grpc-exporter-base|exporter-.*-otlp-grpc)$/ }, (args) =>
      args.pluginData === 'resolved'
        ? undefined
        : build.resolve(args.path, { kind: 'require-call', resolveDir: args.resolveDir, pluginData: 'resolved' }),
    )
  },
}

// An ES import of node:http evaluates its lazy exports and with them all of undici: 13 MB and 20 ms in each process that only
// wants a socket. Through a CommonJS module of one line an export is read when it is used.
const lightHttp: Plugin = {
  name: 'light-http',
  setup(build) {
    build.onResolve({ filter: /^(node:)?http$/ }, () => ({ path: 'http', namespace: 'light-http' }))
    build.onLoad({ filter: /.*/, namespace: 'light-http' }, () => ({
      contents: "module.exports = process.getBuiltinModule('node:http')",
    }))
  },
}

// BullMQ reads cron expressions of repeated jobs; a worker that is given none needs no parser and no time zones.
const lateCron: Plugin = {
  name: 'late-cron',
  setup(build) {
    build.onResolve({ filter: /^cron-parser$/ }, ({ namespace }) =>
      namespace === 'late-cron' ? undefined : { path: 'cron-parser', namespace: 'late-cron' },
    )
    build.onLoad({ filter: /.*/, namespace: 'late-cron' }, () => ({
      contents:
        "exports.__esModule = true; Object.defineProperty(exports, 'CronExpressionParser', { enumerable: true, get: () => require('cron-parser').CronExpressionParser })",
      resolveDir: root,
    }))
  },
}

// dbus-next reads and writes XML for introspection only; the controller sends and takes messages, and exports nothing.
const noIntrospection: Plugin = {
  name: 'no-introspection',
  setup(build) {
    build.onResolve({ filter: /^fast-xml-(parser|builder)$/ }, () => ({ path: 'xml', namespace: 'no-introspection' }))
    build.onLoad({ filter: /.*/, namespace: 'no-introspection' }, () => ({
      contents: "export class XMLParser {}\nexport default class XMLBuilder { build() { return '<node/>' } }",
    }))
  },
}

// What the units run is bundled by itself: as one file, or one and what it loads later, a command starts 10 ms earlier and is
// 4 MB smaller than put together from the chunks that it would share with every other command.
const unitCommands = ['up', 'health', 'install', 'probe', 'worker', 'telemetry', 'metrics', 'share', 'sandbox'] as const
const unitCommandsApart: Plugin = {
  name: 'unit-commands-apart',
  setup(build) {
    build.onResolve({ filter: new RegExp(`/commands/(${unitCommands.join('|')})\\.ts$`) }, ({ path: file, kind }) =>
      kind === 'dynamic-import' ? { path: `../commands/${path.basename(file, '.ts')}.js`, external: true } : undefined,
    )
  },
}

const commonJs = [
  "import { createRequire as __createRequire } from 'node:module'",
  "import { fileURLToPath as __fileURLToPath } from 'node:url'",
  'const require = __createRequire(import.meta.url)',
  'const __filename = __fileURLToPath(import.meta.url)',
  'const __dirname = __fileURLToPath(new URL(".", import.meta.url))',
].join(';')

/** Version of the product, from package.json. */
export async function productVersion(): Promise<string> {
  const text = await readFile(path.join(root, 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

export interface BuildOptions {
  /** Default dist/. */
  folder?: string
  /** Default src/main.ts. */
  entry?: string
  /** Default: the version of package.json. */
  version?: string
  /** Plugins of the bundler beside those of the product. */
  plugins?: readonly Plugin[]
}

/**
 * Bundles the program into a folder: main.js with one chunk per lazily imported module, commands/ with what the units run,
 * threads/ with what runs beside them, package.json and units/templates. What the Debian package ships in /usr/lib/comfy-machine, except for the runtime.
 */
export async function buildProgram(options: BuildOptions = {}): Promise<void> {
  const folder = options.folder ?? path.join(root, 'dist')
  const entry = options.entry ?? path.join(root, 'src/main.ts')
  const version = options.version ?? (await productVersion())
  const plugins = options.plugins ?? []
  for (const part of ['main.js', 'commands', 'chunks', 'threads', 'units', 'package.json']) {
    await rm(path.join(folder, part), { recursive: true, force: true })
  }
  const shared: EsbuildOptions = {
    outdir: folder,
    absWorkingDir: root,
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    mainFields: ['module', 'main'],
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    external: ['usocket', 'x11', 'koffi', 'pg', 'redis', 'bullmq-otel'],
    define: { COMFY_MACHINE_VERSION: JSON.stringify(version) },
    banner: { js: commonJs },
    logLevel: 'warning',
  }
  await bundle({
    ...shared,
    entryPoints: [{ in: entry, out: 'main' }],
    plugins: [...plugins, oneGrpc, lightHttp, unitCommandsApart],
  })
  for (const command of unitCommands) {
    const file = path.join(root, `src/commands/${command}.ts`)
    await bundle({
      ...shared,
      entryPoints: [{ in: file, out: `commands/${command}` }],
      plugins: [...plugins, oneGrpc, lightHttp, lateCron, noIntrospection],
    })
  }
  await bundle({
    ...shared,
    splitting: false,
    banner: {},
    entryPoints: [{ in: path.join(root, 'src/host/download/hash-thread.ts'), out: 'threads/hash-thread' }],
  })
  const main = path.join(folder, 'main.js')
  const code = await readFile(main, 'utf8')
  // V8 lets the young generation grow to 16 MB a half before it collects; nothing here makes garbage that fast.
  await writeFile(main, `#!${runtimePath} --max-semi-space-size=1\n${code.replace(/^#!.*\n/, '')}`)
  await chmod(main, 0o755)
  await writeFile(path.join(folder, 'package.json'), '{"type":"module"}\n')
  await mkdir(path.join(folder, 'units'), { recursive: true })
  await cp(path.join(root, 'units/templates'), path.join(folder, 'units/templates'), { recursive: true })
}

if (import.meta.main) await buildProgram()
