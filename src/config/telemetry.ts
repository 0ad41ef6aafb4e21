/**
 * Whether the standard variables name a collector for traces and none switches them off
 * (opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables).
 */
export function wantsTraces(settings: Readonly<Record<string, string | undefined>>): boolean {
  const isOff = /^true$/i.test(settings['OTEL_SDK_DISABLED'] ?? '') || settings['OTEL_TRACES_EXPORTER'] === 'none'
  const endpoint = settings['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] || settings['OTEL_EXPORTER_OTLP_ENDPOINT']
  return !isOff && endpoint !== undefined && endpoint !== ''
}

/** Whether the standard variables ask for metrics over OTLP: OTEL_METRICS_EXPORTER has `otlp`, and there is an endpoint. */
export function wantsMetrics(settings: Readonly<Record<string, string | undefined>>): boolean {
  const isOff = /^true$/i.test(settings['OTEL_SDK_DISABLED'] ?? '')
  const exporters = (settings['OTEL_METRICS_EXPORTER'] ?? '').split(',').map((name) => name.trim())
  const endpoint = settings['OTEL_EXPORTER_OTLP_METRICS_ENDPOINT'] || settings['OTEL_EXPORTER_OTLP_ENDPOINT']
  return !isOff && exporters.includes('otlp') && endpoint !== undefined && endpoint !== ''
}
