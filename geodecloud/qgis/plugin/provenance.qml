<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis styleCategories="Symbology" version="3.22.16">
  <pipe>
    <provider>
      <resampling enabled="false" zoomedInResamplingMethod="nearestNeighbour" zoomedOutResamplingMethod="nearestNeighbour" maxOversampling="2"/>
    </provider>
    <rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" alphaBand="-1" classificationMin="0" classificationMax="255" nodataColor="90,90,90,255">
      <rastershader>
        <colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" minimumValue="0" maximumValue="255">
          <item value="0" label="measured, unchanged" color="#000000" alpha="0"/>
          <item value="1" label="restored: 1 %" color="#ffe93c" alpha="255"/>
          <item value="50" label="restored: 50 %" color="#ff8723" alpha="255"/>
          <item value="100" label="restored: 100 %" color="#ff230a" alpha="255"/>
          <item value="101" label="filled: invented" color="#c800c8" alpha="255"/>
          <item value="102" label="too far from visible ground to be filled" color="#5a006e" alpha="255"/>
          <item value="103" label="relit in a cloud's shadow" color="#00c878" alpha="255"/>
          <item value="104" label="cloud, kept" color="#dcdcdc" alpha="255"/>
          <item value="105" label="cloud, made nodata" color="#283c3c" alpha="255"/>
          <item value="110" label="from reference 1, of another date" color="#005aff" alpha="255"/>
          <item value="209" label="from reference 100, of another date" color="#00bdff" alpha="255"/>
          <rampLegendSettings useContinuousLegend="0"/>
        </colorrampshader>
      </rastershader>
    </rasterrenderer>
  </pipe>
</qgis>
