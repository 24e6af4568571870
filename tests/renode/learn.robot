*** Comments ***
Every board that has a [renode] boots its real firmware in Renode, predicts, learns, and is compared with the references:
output bytes with LiteRT, the learned head with NumPy.

    robot --variable MODEL:digits.elb tests/renode/learn.robot

MODEL is a bundle with a trainable head. `edgelearn` and `renode` must be on PATH.

*** Settings ***
Library           Collections
Library           OperatingSystem
Library           Process
Library           String
Test Template     A Board Learns As The References Do

*** Variables ***
${MODEL}          digits.elb
${SAMPLES}        32
${TRAIN_STEPS}    100

*** Test Cases ***    BOARD
nRF52840              nrf52840dk
Arduino Nano 33 BLE   nano33ble
STM32F405             netduinoplus2
STM32F446             nucleo_f446re
STM32F746             disco_f746ng

*** Keywords ***
A Board Learns As The References Do
    [Arguments]    ${board}
    ${done}=    Run Process    edgelearn    verify    ${MODEL}    --board    ${board}    --engine    renode
    ...    --samples    ${SAMPLES}    --train-steps    ${TRAIN_STEPS}    --json
    Log    ${done.stdout}
    Log    ${done.stderr}
    Should Be Equal As Integers    ${done.rc}    0    ${done.stderr}
    ${last}=    Get Line    ${done.stdout}    -1
    ${found}=    Evaluate    json.loads($last)    json
    Should Be Equal    ${found}[engine]    renode
    Should Be Equal As Integers    ${found}[output_bytes_different]    0
    Should Be True    ${found}[output_bytes_compared] > 0
    Should Be Equal As Integers    ${found}[head_weights_different]    0
